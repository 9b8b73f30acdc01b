// The product at the heart of convolution and matrix multiplication in Z_2^64 and Z_2^32.
//
//   out[pixel, oc] = sum over k of input[pixel_offset[pixel] + k_offset[k]] * weight[oc, k]
//
// There is no im2col: a tile of kPixels pixels keeps one pointer each, and the k-th operand of every pixel lies at the
// same distance from it. A panel of output channels is kept in the first-level cache while the pixels of a block pass
// by it. The multiplications are the bound (vpmullq: two a cycle on Zen 5), so weights may be stored narrow: widening
// them as they are loaded costs nothing and saves memory traffic where a layer has more weights than pixels.
#pragma once
#include "cpu/kernels.h"
#include "ring/lanes.h"
#include "ring/transpose.h"
#ifdef AR_AVX2
#include "ring/tile_avx2.h"
#endif

namespace autorep {
namespace AR_TIER {

enum { kPixels = 4, kBlockTiles = kTileScratchBytes / (kPixels * kPanelBytes) };

// sums of kUsed pixels, kVectors vectors += input * weight over one stretch of k. `row`: the panel's width in elements.
template <class T, class W, int kVectors, int kUsed>
static void tile(const char* const* pixel, const int64_t* k_offset, int64_t kn, const W* w, int64_t row, Sums<T> sums) {
  using L = Lanes<T>;
  using V = typename L::V;
  V acc[kUsed][kVectors];
  for (int p = 0; p < kUsed; ++p)
    for (int v = 0; v < kVectors; ++v) acc[p][v] = sums.shifted(v * L::count).template get<V>(p);
  const char* base[kUsed];
  for (int p = 0; p < kUsed; ++p) base[p] = pixel[p];
  for (int64_t k = 0; k < kn; ++k) {
    V wv[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) wv[v] = L::widen(w + k * row + v * L::count);
    const int64_t at = k_offset[k];
#pragma GCC unroll 4
    for (int p = 0; p < kUsed; ++p) {
      const V x = V{} + *reinterpret_cast<const T*>(base[p] + at);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[p][v] += wv[v] * x;
    }
  }
  for (int p = 0; p < kUsed; ++p)
    for (int v = 0; v < kVectors; ++v) sums.shifted(v * L::count).put(p, acc[p][v]);
}

// The tile over a whole panel, as many vectors at a time as the registers hold.
template <class T, class W, int kUsed>
struct PanelTile {
  static void run(const char* const* pixel, const int64_t* k_offset, int64_t kn, const W* w, int64_t row,
                  Sums<T> sums) {
    enum { kLanes = Lanes<T>::count, kMost = Lanes<T>::most };
    int64_t v = 0;
    for (; v + kMost * kLanes <= row; v += kMost * kLanes)
      tile<T, W, kMost, kUsed>(pixel, k_offset, kn, w + v, row, sums.shifted(v));
    for (; v < row; v += kLanes) tile<T, W, 1, kUsed>(pixel, k_offset, kn, w + v, row, sums.shifted(v));
  }
};

#ifdef AR_AVX2
template <class W, int kUsed>
struct PanelTile<uint64_t, W, kUsed> {
  static void run(const char* const* pixel, const int64_t* k_offset, int64_t kn, const W* w, int64_t row,
                  Sums<uint64_t> sums) {
    for (int64_t v = 0; v < row; v += 4)
      SplitTile<W>::template run<kUsed>(pixel, k_offset, kn, w + v, row, sums.shifted(v));
  }
};
#endif

// One channel of `run` pixels of an image: from sums `row` apart to outputs from `at` on.
template <class T>
static void write_channel(const TileArgs& a, int64_t at, int64_t run, int64_t row, const T* c) {
  T* const out = static_cast<T*>(a.out);
  const T* const add = static_cast<const T*>(a.add);
  for (int64_t i = 0; i < run; ++i, at += a.pixel_stride) out[at] = c[i * row] + (add ? add[at] : 0);
}

// Four channels, where the pixels of an image lie side by side.
template <class T>
static void write_four(const TileArgs& a, int64_t at, int64_t run, int64_t row, const T* c) {
  using V = typename Four<T>::V;
  T* const out = static_cast<T*>(a.out);
  const T* const add = static_cast<const T*>(a.add);
  int64_t i = 0;
  for (; i + 4 <= run; i += 4) {
    V v[4];
    for (int p = 0; p < 4; ++p) v[p] = load<V>(c + (i + p) * row);
    transpose4(v);
    for (int o = 0; o < 4; ++o) {
      const int64_t to = at + o * a.oc_stride + i;
      store(out + to, add ? v[o] + load<V>(add + to) : v[o]);
    }
  }
  for (int o = 0; o < 4; ++o) write_channel(a, at + o * a.oc_stride + i, run - i, row, c + i * row + o);
}

template <class T>
static void write_tiles(const TileArgs& a, int64_t first, int64_t count, int64_t oc, int64_t width, int64_t row,
                        const T* c) {
  const bool by_four = Lanes<T>::count > 1 && a.pixel_stride == 1;
  for (int64_t done = 0; done < count;) {
    // One image at a time: within it, pixels lie `pixel_stride` apart.
    const int64_t image = (first + done) / a.pixels_per_image, q = (first + done) % a.pixels_per_image;
    const int64_t run = min64(count - done, a.pixels_per_image - q);
    const int64_t at = image * a.image_stride + q * a.pixel_stride + oc * a.oc_stride;
    const T* const from = c + done * row;
    int64_t o = 0;
    for (; by_four && o + 4 <= width; o += 4) write_four(a, at + o * a.oc_stride, run, row, from + o);
    for (; o < width; ++o) write_channel(a, at + o * a.oc_stride, run, row, from + o);
    done += run;
  }
}

template <class T, class W>
static void tiles_typed(const TileArgs& a, int threads) {
  const int64_t row = a.panel, block = int64_t(kBlockTiles) * kPixels * (kPanelBytes / int64_t(sizeof(T)) / row);
  const int64_t blocks = (a.pixels + block - 1) / block, panels = (a.oc_per_group + row - 1) / row;
  const int64_t k_step = kPanelSliceBytes / (row * int64_t(sizeof(W)));
#pragma omp parallel num_threads(threads)
  {
    T* c = static_cast<T*>(a.scratch);
#ifdef _OPENMP
    c += omp_get_thread_num() * (kTileScratchBytes / int64_t(sizeof(T)));
#endif
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < a.groups * panels * blocks; ++task) {
      const int64_t first = task % blocks * block, panel = task / blocks % panels, group = task / blocks / panels;
      const int64_t count = min64(block, a.pixels - first);
      const W* w = static_cast<const W*>(a.weight) + (group * panels + panel) * row * a.k;
      const char* input = static_cast<const char*>(a.input) + group * a.group_offset;
      const int64_t oc = panel * row, width = min64(row, a.oc_per_group - oc);
      // Sums go to their place at once where that is a row of outputs of one pixel, else by way of the scratch.
      const bool direct = a.oc_stride == 1 && a.pixels == a.pixels_per_image && width == row && !a.add;
      T* const out = static_cast<T*>(a.out) + first * a.pixel_stride + group * a.oc_per_group + oc;
      for (int64_t k = 0; k < a.k; k += k_step) {
        const int64_t kn = min64(k_step, a.k - k);
        const Sums<T> sums = direct ? Sums<T>{out, a.pixel_stride, k == 0} : Sums<T>{c, row, k == 0};
        int64_t p = 0;
        for (; p + kPixels <= count; p += kPixels) {
          const char* pixel[kPixels];
          for (int i = 0; i < kPixels; ++i) pixel[i] = input + a.pixel_offset[first + p + i];
          PanelTile<T, W, kPixels>::run(pixel, a.k_offset + k, kn, w + k * row, row, sums.shifted(p * sums.step));
        }
        for (; p < count; ++p) {
          const char* pixel = input + a.pixel_offset[first + p];
          PanelTile<T, W, 1>::run(&pixel, a.k_offset + k, kn, w + k * row, row, sums.shifted(p * sums.step));
        }
      }
      if (!direct) write_tiles(a, first, count, group * a.oc_per_group + oc, width, row, c);
    }
  }
}

static void tiles(const TileArgs& a, int threads) {
  if (a.ring_bytes == 8) {
    if (a.weight_bytes == 2) return tiles_typed<uint64_t, int16_t>(a, threads);
    if (a.weight_bytes == 4) return tiles_typed<uint64_t, int32_t>(a, threads);
    return tiles_typed<uint64_t, int64_t>(a, threads);
  }
  if (a.weight_bytes == 2) return tiles_typed<uint32_t, int16_t>(a, threads);
  return tiles_typed<uint32_t, int32_t>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
