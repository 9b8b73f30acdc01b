// Real numbers to fixed point in the ring and back, rounding half to even.
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"

namespace autorep {
namespace AR_TIER {

template <class Real>
static int64_t encode_run(const EncodeArgs& a, int64_t begin, int64_t end) {
  const Real* x = static_cast<const Real*>(a.x);
  const double scale = a.scale, whole = 4503599627370496.0, limit = 4611686018427387904.0;  // 2^52, 2^62
  int64_t bad = 0;
#pragma omp simd reduction(| : bad)
  for (int64_t i = begin; i < end; ++i) {
    const double v = double(x[i]) * scale;
    // Adding 2^52 leaves no fraction bits; from there on a double is whole anyway.
    const double size = __builtin_fabs(v), round = (size + whole) - whole;
    const double rounded = __builtin_copysign(size < whole ? round : size, v);
    const bool fits = size < limit;
    bad |= !fits;  // also where v is not a number
    a.out[i] = uint64_t(int64_t(fits ? rounded : 0.0));
  }
  return bad;
}

static bool encode(const EncodeArgs& a, int threads) {
  enum { kChunk = 8192 };
  int64_t bad = 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(| : bad)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) {
    const int64_t begin = c * kChunk, end = min64(begin + kChunk, a.n);
    bad |= a.real_bytes == 4 ? encode_run<float>(a, begin, end) : encode_run<double>(a, begin, end);
  }
  return bad == 0;
}

template <class Real>
static void decode_run(const DecodeArgs& a, int64_t begin, int64_t end) {
  Real* out = static_cast<Real*>(a.out);
  const double scale = a.scale;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) out[i] = Real(double(int64_t(a.v[i])) * scale);
}

static void decode(const DecodeArgs& a, int threads) {
  enum { kChunk = 8192 };
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (a.n + kChunk - 1) / kChunk; ++c) {
    const int64_t begin = c * kChunk, end = min64(begin + kChunk, a.n);
    if (a.real_bytes == 4) decode_run<float>(a, begin, end);
    else decode_run<double>(a, begin, end);
  }
}

}  // namespace AR_TIER
}  // namespace autorep
