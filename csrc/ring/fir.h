// 3x3 convolution with fewer products: short fast FIR filters in both dimensions.
//
// A filter of three taps that advances by one or two gives a few outputs at a time from a vector of `inputs`:
//
//   y = out(filters(h) * in(x)),      in, out, filters: sums and differences only, * element by element
//
// with 8 products for four outputs where the plain filter takes 12 (stride 1), 5 for two instead of 6 (stride 2); in two
// dimensions 64 for 144 and 25 for 36. It is Karatsuba's product, transposed, applied to the even and odd parts of the
// sequence and again to their halves. Winograd's filters need still fewer, but divide by two, which Z_2^64 cannot.
//
// Source: Mou and Duhamel, "Short-length FIR filters and their use in fast nonrecursive filtering" (1991), section III.
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"

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

// Filters are four times the weights. Where products are slow, reading them for a few tiles already pays.
#ifdef AR_AVX512
enum : int64_t { fir_least_tiles = 16 };
#else
enum : int64_t { fir_least_tiles = 4 };
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
      for (int64_t i = 0; i < samples; ++i)
        for (int p = 0; p < kFirStep; ++p) to[p * samples + i] = line[kFirStep * i + p];
    }
  }
}

// One vector of tiles of one line: sample s of tile t is phase s % 4 of tile t + s / 4.
template <class V, int kStride>
AR_INLINE void fir_line(const char* line, int64_t phase, int64_t tile_bytes, char* const* to) {
  using F = Fir<kStride>;
  V x[F::kInputs], v[F::kProducts];
  for (int s = 0; s < F::kInputs; ++s) x[s] = load<V>(line + (s % kFirStep) * phase + (s / kFirStep) * tile_bytes);
  F::in(x, v);
  for (int p = 0; p < F::kProducts; ++p) store(to[p], v[p]);
}

template <class T, int kStride>
static void fir_input_typed(const FirArgs& a, int threads) {
  using F = Fir<kStride>;
  typedef T Wide __attribute__((vector_size(64)));
  typedef T Narrow __attribute__((vector_size(4 * sizeof(T))));
  const int64_t phase = (a.tile_columns + 1) * int64_t(sizeof(T)), row = kFirStep * phase, wide = 64 / sizeof(T);
#pragma omp parallel num_threads(threads)
  {
    char* lines = static_cast<char*>(a.scratch);  // kProducts lines, filtered from top to bottom
#ifdef _OPENMP
    lines += omp_get_thread_num() * a.scratch_bytes;
#endif
#pragma omp for schedule(static)
    for (int64_t task = 0; task < a.channels * a.rows; ++task) {
      const int64_t channel = task / a.rows, r = task % a.rows;
      const int64_t image = (a.first_row + r) / a.tile_rows, tile_row = (a.first_row + r) % a.tile_rows;
      const char* from = static_cast<const char*>(a.phases) +
                         ((image * a.channels + channel) * a.input_rows + tile_row * kFirStep) * row;
      for (int64_t at = 0; at < row;) {
        const auto column = [&](auto zero) {
          using V = decltype(zero);
          V x[F::kInputs], v[F::kProducts];
          for (int s = 0; s < F::kInputs; ++s) x[s] = load<V>(from + s * row + at);
          F::in(x, v);
          for (int p = 0; p < F::kProducts; ++p) store(lines + p * row + at, v[p]);
          at += int64_t(sizeof(V));
        };
        at + 64 <= row ? column(Wide{}) : column(Narrow{});  // a row is a multiple of four elements
      }
      for (int i = 0; i < F::kProducts; ++i) {
        const char* line = lines + i * row;
        char* to[F::kProducts];
        for (int j = 0; j < F::kProducts; ++j) {
          const FirPlace& place = a.places[i * F::kProducts + j];
          to[j] = reinterpret_cast<char*>(static_cast<T*>(place.v) + channel * place.v_channel + r * a.tile_columns);
        }
        const auto tiles = [&](auto zero) {
          using V = decltype(zero);
          fir_line<V, kStride>(line, phase, sizeof(T), to);
          line += sizeof(V);
          for (int j = 0; j < F::kProducts; ++j) to[j] += sizeof(V);
        };
        int64_t left = a.tile_columns;
        for (; left >= wide; left -= wide) tiles(Wide{});
        for (; left >= 4; left -= 4) tiles(Narrow{});
        for (; left > 0; --left) tiles(T{});
      }
    }
  }
}

// A vector of channels of one tile: what the products give, written to its pixels inside the image.
template <class T, class V, int kStride>
AR_INLINE void fir_tile(const FirArgs& a, int64_t image, int64_t tile_row, int64_t tile_column, int64_t tile, int64_t oc) {
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
  T y[F::kOutputs][F::kOutputs][kLanes];
  const V bias = a.bias ? load<V>(static_cast<const T*>(a.bias) + oc) : V{};
  for (int x = 0; x < F::kOutputs; ++x) {
    V column[F::kOutputs];
    F::out(across[x], column);
    for (int r = 0; r < F::kOutputs; ++r) store(y[r][x], column[r] + bias);
  }
  const int64_t top = tile_row * F::kOutputs, left = tile_column * F::kOutputs;
  const int64_t height = min64(F::kOutputs, a.out_h - top), width = min64(F::kOutputs, a.out_w - left);
  for (int64_t lane = 0; lane < kLanes; ++lane)
    for (int64_t r = 0; r < height; ++r) {
      const int64_t at = ((image * a.outputs + oc + lane) * a.out_h + top + r) * a.out_w + left;
      T* out = static_cast<T*>(a.out) + at;
      const T* add = a.add ? static_cast<const T*>(a.add) + at : nullptr;
      if (width == F::kOutputs) {
        for (int x = 0; x < F::kOutputs; ++x) out[x] = y[r][x][lane] + (add ? add[x] : 0);
      } else {
        for (int64_t x = 0; x < width; ++x) out[x] = y[r][x][lane] + (add ? add[x] : 0);
      }
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
  if (a.ring_bytes == 8) return a.stride == 1 ? fir_input_typed<uint64_t, 1>(a, threads) : fir_input_typed<uint64_t, 2>(a, threads);
  a.stride == 1 ? fir_input_typed<uint32_t, 1>(a, threads) : fir_input_typed<uint32_t, 2>(a, threads);
}

static void fir_output(const FirArgs& a, int threads) {
  if (a.ring_bytes == 8) return a.stride == 1 ? fir_output_typed<uint64_t, 1>(a, threads) : fir_output_typed<uint64_t, 2>(a, threads);
  a.stride == 1 ? fir_output_typed<uint32_t, 1>(a, threads) : fir_output_typed<uint32_t, 2>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
