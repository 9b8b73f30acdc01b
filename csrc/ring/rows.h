// Convolution with at most a few output channels a group (depthwise): vectors run along an output row.
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"

namespace autorep {
namespace AR_TIER {

// acc[i] += w * x[i * stride]
template <class T>
AR_INLINE void axpy(T* acc, const T* x, T w, int64_t n, int64_t stride) {
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) acc[i] += w * x[i];
  } else if (stride == 2) {
    for (int64_t i = 0; i < n; ++i) acc[i] += w * x[2 * i];
  } else {
    for (int64_t i = 0; i < n; ++i) acc[i] += w * x[i * stride];
  }
}

template <class T>
static void rows_typed(const RowArgs& a, int threads) {
  const int64_t outputs = a.groups * a.oc_per_group, taps = a.kernel_h * a.kernel_w;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t task = 0; task < a.batch * outputs; ++task) {
    const int64_t image = task / outputs, oc = task % outputs, group = oc / a.oc_per_group;
    const T* w = static_cast<const T*>(a.weight) + oc * a.ic_per_group * taps;
    const T* x = static_cast<const T*>(a.input) + (image * a.groups + group) * a.ic_per_group * a.height * a.width;
    T* out = static_cast<T*>(a.out) + task * a.out_h * a.out_w;
    const T* add = a.add ? static_cast<const T*>(a.add) + task * a.out_h * a.out_w : nullptr;
    for (int64_t y = 0; y < a.out_h; ++y) {
      T* row = out + y * a.out_w;
      for (int64_t i = 0; i < a.out_w; ++i) row[i] = add ? add[y * a.out_w + i] : 0;
      for (int64_t c = 0; c < a.ic_per_group; ++c)
        for (int64_t ky = 0; ky < a.kernel_h; ++ky) {
          const T* line = x + (c * a.height + y * a.stride_h + ky * a.dilation_h) * a.width;
          for (int64_t kx = 0; kx < a.kernel_w; ++kx)
            axpy(row, line + kx * a.dilation_w, w[(c * a.kernel_h + ky) * a.kernel_w + kx], a.out_w, a.stride_w);
        }
    }
  }
}

static void rows(const RowArgs& a, int threads) {
  if (a.ring_bytes == 8) return rows_typed<uint64_t>(a, threads);
  rows_typed<uint32_t>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
