// 3x3 convolution with fewer products: short fast FIR filters in both dimensions.
//
// A filter of three taps that advances by one or two gives a few outputs at a time from a vector of `inputs`:
//
//   y = out(filters(h) * in(x)),      in, out, filters: sums and differences only, * element by element
//
// with 8 products for four outputs where the plain filter takes 12 (stride 1), 5 for two instead of 6 (stride 2); in
// two dimensions 64 for 144 and 25 for 36. It is Karatsuba's product, transposed, applied to the even and odd parts of
// the sequence and again to their halves. Winograd's filters need still fewer, but divide by two, which Z_2^64 cannot.
//
// Source: Mou and Duhamel, "Short-length FIR filters and their use in fast nonrecursive filtering" (1991), section III.
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"
#include "ring/transpose.h"

namespace autorep {
namespace AR_TIER {

template <int kStride>
struct Fir;

template <>
struct Fir<1> {
  enum { kInputs = 6, kProducts = 8, kOutputs = 4 };
  template <class V>
  AR_INLINE void in(const V* x, V* v) {
    const V d1 = x[2] - x[3];
    v[0] = x[0] - x[1] - d1, v[1] = x[4] - x[5] - d1, v[2] = d1;
    v[3] = x[2] - x[1], v[4] = x[4] - x[3];
    v[5] = x[1] - x[3], v[6] = x[5] - x[3], v[7] = x[3];
  }
  template <class V>
  AR_INLINE void out(const V* m, V* y) {
    const V odd0 = m[5] + m[7], odd1 = m[6] + m[7];
    y[0] = m[0] + m[2] + odd0, y[1] = m[3] + odd0;
    y[2] = m[1] + m[2] + odd1, y[3] = m[4] + odd1;
  }
};

template <>
struct Fir<2> {
  enum { kInputs = 5, kProducts = 5, kOutputs = 2 };
  template <class V>
  AR_INLINE void in(const V* x, V* v) {
    v[0] = x[0] - x[2], v[1] = x[4] - x[2], v[2] = x[2], v[3] = x[1], v[4] = x[3];
  }
  template <class V>
  AR_INLINE void out(const V* m, V* y) {
    y[0] = m[0] + m[2] + m[3], y[1] = m[1] + m[2] + m[4];
  }
};

// Filters are four times the weights: where products are slow, reading them for a few tiles already pays. Inputs are
// made in vectors of one register each, because a line of them and its differences should fit.
#ifdef AR_AVX512
enum : int64_t { fir_least_tiles = 16, kFirVector = 64 };
#else
enum : int64_t { fir_least_tiles = 4, kFirVector = 32 };
#endif

// The input with its zero border, each row taken apart into phases.
template <class T>
static void fir_split_typed(const FirArgs& a, int threads) {
  const int64_t samples = a.tile_columns + 1, row = kFirStep * samples, used = min64(a.width, row - a.padding_w);
#pragma omp parallel num_threads(threads)
  {
    char* scratch = static_cast<char*>(a.scratch);
#ifdef _OPENMP
    scratch += omp_get_thread_num() * a.scratch_bytes;
#endif
    T* const line = reinterpret_cast<T*>(scratch);
    memset(line, 0, size_t(row) * sizeof(T));
#pragma omp for schedule(static)
    for (int64_t task = 0; task < a.planes * a.input_rows; ++task) {
      T* __restrict to = static_cast<T*>(a.phases) + task * row;
      const int64_t y = task % a.input_rows - a.padding_h;
      if (y < 0 || y >= a.height) {
        memset(to, 0, size_t(row) * sizeof(T));
        continue;
      }
      const T* from = static_cast<const T*>(a.input) + (task / a.input_rows * a.height + y) * a.width;
      for (int64_t i = 0; i < used; ++i) line[a.padding_w + i] = from[i];
      int64_t i = 0;
      for (; i + 4 <= samples; i += 4) {
        using V = typename Four<T>::V;
        V v[4];
        for (int p = 0; p < 4; ++p) v[p] = load<V>(line + kFirStep * (i + p));
        transpose4(v);
        for (int p = 0; p < 4; ++p) store(to + p * samples + i, v[p]);
      }
      for (; i < samples; ++i)
        for (int p = 0; p < kFirStep; ++p) to[p * samples + i] = line[kFirStep * i + p];
    }
  }
}

// A vector of tiles of a row: sample s of tile t is phase s % 4 of tile t + s / 4. `row`, `phase`: their lengths.
template <class T, class V, int kStride>
AR_INLINE void fir_tiles(const T* from, int64_t row, int64_t phase, T* const* to, int64_t at) {
  using F = Fir<kStride>;
  V down[F::kInputs][F::kProducts];
  for (int s = 0; s < F::kInputs; ++s) {
    V x[F::kInputs];
    for (int y = 0; y < F::kInputs; ++y) x[y] = load<V>(from + y * row + s % kFirStep * phase + s / kFirStep);
    F::in(x, down[s]);
  }
  for (int i = 0; i < F::kProducts; ++i) {
    V x[F::kInputs], v[F::kProducts];
    for (int s = 0; s < F::kInputs; ++s) x[s] = down[s][i];
    F::in(x, v);
    for (int j = 0; j < F::kProducts; ++j) store(to[i * F::kProducts + j] + at, v[j]);
  }
}

template <class T, int kStride>
static void fir_input_typed(const FirArgs& a, int threads) {
  typedef T Wide __attribute__((vector_size(kFirVector)));
  using Narrow = typename Four<T>::V;
  enum { kWide = sizeof(Wide) / sizeof(T), kPlaces = Fir<kStride>::kProducts * Fir<kStride>::kProducts };
  const int64_t phase = a.tile_columns + 1, row = kFirStep * phase;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t channel = 0; channel < a.channels; ++channel) {
    T* to[kPlaces];
    for (int p = 0; p < kPlaces; ++p) to[p] = static_cast<T*>(a.places[p].v) + channel * a.places[p].v_channel;
    for (int64_t r = 0; r < a.rows; ++r) {
      const int64_t image = (a.first_row + r) / a.tile_rows, tile_row = (a.first_row + r) % a.tile_rows;
      const int64_t line = (image * a.channels + channel) * a.input_rows + tile_row * kFirStep;
      const T* from = static_cast<const T*>(a.phases) + line * row;
      const int64_t at = r * a.tile_columns;
      int64_t i = 0;
      for (; i + kWide <= a.tile_columns; i += kWide) fir_tiles<T, Wide, kStride>(from + i, row, phase, to, at + i);
      for (; i + 4 <= a.tile_columns; i += 4) fir_tiles<T, Narrow, kStride>(from + i, row, phase, to, at + i);
      for (; i < a.tile_columns; ++i) fir_tiles<T, T, kStride>(from + i, row, phase, to, at + i);
    }
  }
}

// Four outputs of one channel, `kOutputs` of them in a row of the image.
template <class T, int kOutputs, class V>
AR_INLINE void fir_put(V four, T* out, const T* add, int64_t to, int64_t out_w) {
  typedef T Row __attribute__((vector_size(kOutputs * sizeof(T))));
  for (int i = 0; i < 4; i += kOutputs, to += out_w) {
    Row v = load<Row>(reinterpret_cast<const T*>(&four) + i);
    if (add) v += load<Row>(add + to);
    store(out + to, v);
  }
}

// A vector of channels of one tile: what the products give, written to its pixels inside the image.
template <class T, class V, int kStride>
AR_INLINE void fir_tile(const FirArgs& a, int64_t image, int64_t tile_row, int64_t tile_column, int64_t tile,
                        int64_t oc) {
  using F = Fir<kStride>;
  enum { kLanes = sizeof(V) / sizeof(T) };
  V across[F::kOutputs][F::kProducts];
  for (int i = 0; i < F::kProducts; ++i) {
    V m[F::kProducts], line[F::kOutputs];
    for (int j = 0; j < F::kProducts; ++j) {
      const FirPlace& place = a.places[i * F::kProducts + j];
      m[j] = load<V>(static_cast<const T*>(place.m) + tile * place.m_tile + oc);
    }
    F::out(m, line);
    for (int x = 0; x < F::kOutputs; ++x) across[x][i] = line[x];
  }
  T y[F::kOutputs * F::kOutputs][kLanes];  // row by row
  for (int x = 0; x < F::kOutputs; ++x) {
    V column[F::kOutputs];
    F::out(across[x], column);
    for (int r = 0; r < F::kOutputs; ++r) store(y[r * F::kOutputs + x], column[r]);
  }
  const int64_t top = tile_row * F::kOutputs, left = tile_column * F::kOutputs;
  const int64_t height = min64(F::kOutputs, a.out_h - top), width = min64(F::kOutputs, a.out_w - left);
  const int64_t plane = a.out_h * a.out_w, at = (image * a.outputs + oc) * plane + top * a.out_w + left;
  T* const out = static_cast<T*>(a.out) + at;
  const T* const add = a.add ? static_cast<const T*>(a.add) + at : nullptr;
  if (kLanes >= 4 && height == F::kOutputs && width == F::kOutputs) {
    for (int r = 0; r < F::kOutputs; r += 4 / F::kOutputs)
      for (int lane = 0; lane < kLanes; lane += 4) {
        using Q = typename Four<T>::V;
        Q four[4];
        for (int i = 0; i < 4; ++i) four[i] = load<Q>(&y[r * F::kOutputs + i][lane]);
        transpose4(four);
        for (int i = 0; i < 4; ++i)
          fir_put<T, F::kOutputs>(four[i], out, add, (lane + i) * plane + r * a.out_w, a.out_w);
      }
    return;
  }
  for (int64_t lane = 0; lane < kLanes; ++lane)
    for (int64_t r = 0; r < height; ++r)
      for (int64_t x = 0; x < width; ++x) {
        const int64_t to = lane * plane + r * a.out_w + x;
        out[to] = y[r * F::kOutputs + x][lane] + (add ? add[to] : 0);
      }
}

template <class T, int kStride>
static void fir_output_typed(const FirArgs& a, int threads) {
  typedef T Wide __attribute__((vector_size(64)));
  const int64_t lanes = 64 / sizeof(T);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t tile = 0; tile < a.rows * a.tile_columns; ++tile) {
    const int64_t row = a.first_row + tile / a.tile_columns, column = tile % a.tile_columns;
    const int64_t image = row / a.tile_rows, tile_row = row % a.tile_rows;
    int64_t oc = 0;
    for (; oc + lanes <= a.outputs; oc += lanes) fir_tile<T, Wide, kStride>(a, image, tile_row, column, tile, oc);
    for (; oc < a.outputs; ++oc) fir_tile<T, T, kStride>(a, image, tile_row, column, tile, oc);
  }
}

static void fir_split(const FirArgs& a, int threads) {
  a.ring_bytes == 8 ? fir_split_typed<uint64_t>(a, threads) : fir_split_typed<uint32_t>(a, threads);
}

static void fir_input(const FirArgs& a, int threads) {
  if (a.ring_bytes == 8)
    return a.stride == 1 ? fir_input_typed<uint64_t, 1>(a, threads) : fir_input_typed<uint64_t, 2>(a, threads);
  a.stride == 1 ? fir_input_typed<uint32_t, 1>(a, threads) : fir_input_typed<uint32_t, 2>(a, threads);
}

static void fir_output(const FirArgs& a, int threads) {
  if (a.ring_bytes == 8)
    return a.stride == 1 ? fir_output_typed<uint64_t, 1>(a, threads) : fir_output_typed<uint64_t, 2>(a, threads);
  a.stride == 1 ? fir_output_typed<uint32_t, 1>(a, threads) : fir_output_typed<uint32_t, 2>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
