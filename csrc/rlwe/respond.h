// The server's half: sums of ciphertexts times weights, made again with the client's public key, cut to what is sent.
//
// 1. Of each input polynomial the server has (c0, c1), of each output its weights w: X = sum c0 w, Y = sum c1 w, values
// at
//    the roots.
// 2. For each answer u (ternary) and e (noise) are drawn: X += pk0 u, Y += pk1 u + e. Y alone is sent, and is as good
// as
//    uniform for who knows c1, pk1 and s, by RLWE with the secret u, whatever was sent as c0 and pk0.
// 3. The server keeps round(t X / q), the client gets round(t Y s / q): X + Y s is q W B / t and little noise, so that
//    these are shares of W B, off by one where the noise carries over.
#pragma once
#include "rlwe/args.h"
#include "rlwe/encrypt.h"

namespace autorep {
namespace AR_TIER {

// Outputs whose sums are kept in registers at once.
enum : int64_t { kRlweOutputs = kRlweLanes == 16 ? 4 : 2 };

AR_INLINE int64_t chunks_of(int64_t inputs) { return (inputs + kRlweChunk - 1) / kRlweChunk; }

static void rlwe_expand(const RlweExpandArgs& a, int threads) {
  const RlweTables& t = *a.tables;
  const int64_t n = t.degree;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < a.samples * a.groups * a.inputs; ++i) {
    const int64_t input = i % a.inputs, chunk = input / kRlweChunk * kRlweChunk;
    const int64_t in_chunk = min64(kRlweChunk, a.inputs - chunk);
    // Whole groups of inputs before this one, then the chunks before its own.
    uint32_t* base = a.out + (i - input + chunk) * 2 * t.limbs * n + (input - chunk) * 2 * kRlweRun;
    uint32_t* x = (uint32_t*)(a.scratch + omp_get_thread_num() * kRlweEncryptBytes);
    const Message message = {a.high, a.low, a.low_words};
    for (int l = 0; l < t.limbs; ++l) {
      const RlwePrime& r = t.prime[l];
      for (int part = 0; part < 2; ++part) {
        if (part == 1) sample_uniform(*a.public_key, limb_stream(uint64_t(i), l), r.p, n, x);
        else if (t.width == 32) from_torus<uint32_t>(t, message, i, l, x);
        else from_torus<uint64_t>(t, message, i, l, x);
        if (part == 0) forward(r, n, x);
        to_lanes(n, x, base + l * n * in_chunk * 2 + part * kRlweRun, in_chunk * 2 * kRlweRun);
      }
    }
  }
}

// |value| modulo p, below 4 p; that it is negative turns `negative` round.
AR_INLINE uint32_t magnitude(int64_t value, const RlwePrime& r, uint32_t& negative) {
  const uint64_t sign = uint64_t(value) >> 63, size = (uint64_t(value) ^ -sign) + sign;
  negative ^= uint32_t(sign);
  return times1(uint32_t(size), r.one, r.p) + times1(uint32_t(size >> 32), r.two32, r.p);
}

// Term k of row `row`, and whether it is turned by its position.
AR_INLINE int64_t weight_value(const RlweWeight& w, int64_t row, int64_t k) {
  const int64_t at = row * w.terms + k;
  return w.value_bytes == 4 ? ((const int32_t*)w.values)[at] : ((const int64_t*)w.values)[at];
}
AR_INLINE uint32_t turned(const RlweWeight& w, int64_t k) { return uint32_t(w.positions[k] >= w.tables->degree); }

// What the first stages make of the weights of a row, in lanes and below 2 p: each term goes into one vector.
static void terms_in_lanes(const RlweWeight& w, int64_t row, const RlwePrime& r, uint32_t* x) {
  const int64_t n = w.tables->degree, vectors = n / kRlweLanes;
  const U32 p = splat(r.p), p2 = p + p;
  memset(x, 0, size_t(n) * 4);
  for (int64_t k = 0; k < w.terms; ++k) {
    uint32_t negative = turned(w, k);
    const uint32_t size = magnitude(weight_value(w, row, k), r, negative);
    const int64_t position = w.positions[k] & (n - 1);
    const Power power = lanes_power(r.lanes_front, position / vectors);
    const U32 term = times(splat(size), power.w, power.shoup, p), flip = splat(-negative);
    uint32_t* at = x + position % vectors * kRlweLanes;
    const U32 sum = load<U32>(at) + (term ^ flip) + (flip & (p2 + 1));  // 2 p - term, or term
    store(at, smaller(sum, sum - p2));
  }
}

// The same for many terms, by the stages themselves. a: n numbers.
static void polynomial_in_lanes(const RlweWeight& w, int64_t row, const RlwePrime& r, uint32_t* a, uint32_t* x) {
  const int64_t n = w.tables->degree;
  memset(a, 0, size_t(n) * 4);
  if (w.small) {
    const int32_t* values = (const int32_t*)w.values + row * w.terms;
    for (int64_t k = 0; k < w.terms; ++k) {
      const uint32_t negative = turned(w, k);
      a[w.positions[k] & (n - 1)] += (uint32_t(values[k]) ^ -negative) + negative;
    }
    const uint32_t sign = uint32_t(1) << 31;
    const U32 less = splat(r.p - sign % r.p);
    for (int64_t j = 0; j < n; j += kRlweLanes) store(a + j, reduced(load<U32>(a + j) ^ splat(sign), r) + less);
  } else {
    for (int64_t k = 0; k < w.terms; ++k) {
      uint32_t negative = turned(w, k);
      const uint32_t v = least4(magnitude(weight_value(w, row, k), r, negative), r.p);
      uint32_t& to = a[w.positions[k] & (n - 1)];
      const uint32_t sum = to + ((v ^ -negative) + negative + (r.p & -negative));  // p - v, or v
      to = least(sum, sum - r.p);
    }
  }
  first_stages(r, n, n / kRlweLanes, a);
  to_lanes(n, a, x, kRlweRun);
}

// The weights of a tile, one chunk and one prime. work: 2 x n numbers.
static void weight_block(const RlweWeight& w, int64_t group, int64_t tile, int64_t chunk, int limb, uint32_t* work,
                         uint32_t* out) {
  const RlwePrime& r = w.tables->prime[limb];
  const int64_t n = w.tables->degree, in_chunk = min64(kRlweChunk, w.inputs - chunk);
  const int64_t stride = in_chunk * kRlweTile * kRlweRun, few = n / kRlweLanes;
  const int64_t outputs = min64(kRlweTile, w.outputs - tile * kRlweTile);
  for (int64_t i = 0; i < in_chunk; ++i)
    for (int64_t o = 0; o < (outputs + kRlweOutputs - 1) / kRlweOutputs * kRlweOutputs; ++o) {
      const int64_t output = tile * kRlweTile + o, row = (group * w.outputs + output) * w.inputs + chunk + i;
      uint32_t* to = out + (i * kRlweTile + o) * kRlweRun;
      if (o >= outputs) {
        for (int64_t c = 0; c < n / kRlweRun; ++c) memset(to + c * stride, 0, kRlweRun * 4);
        continue;
      }
      if (w.terms <= few) terms_in_lanes(w, row, r, work);
      else polynomial_in_lanes(w, row, r, work + n, work);
      last_stages_in_lanes(r, n, work, to, stride);
    }
}

static void rlwe_weight(const RlweWeightArgs& a, int threads) {
  const RlweWeight& w = a.weight;
  const int64_t n = w.tables->degree, tiles = (w.outputs + kRlweTile - 1) / kRlweTile;
  const int64_t limbs = w.tables->limbs, chunks = chunks_of(w.inputs);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t task = 0; task < a.tiles * chunks * limbs; ++task) {
    alignas(64) uint32_t work[2 * kRlweMostDegree];
    const int64_t tile = task / (chunks * limbs), limb = task % limbs;
    const int64_t chunk = task / limbs % chunks * kRlweChunk, in_chunk = min64(kRlweChunk, w.inputs - chunk);
    uint32_t* out = a.out + ((tile * w.inputs + chunk) * limbs + limb * in_chunk) * kRlweTile * n;
    const int64_t at = a.first_tile + tile;
    weight_block(w, at / tiles, at % tiles, chunk, int(limb), work, out);
  }
}

// The sums of some samples, from one to the next `sums_stride`, = ciphertexts (`c_stride`) times the weights of a tile
// with so many outputs, of one chunk and prime; or are added to. A run of the weights is read once for all samples.
static void multiply(const RlwePrime& r, int64_t n, int64_t inputs, int64_t outputs, int64_t samples, const uint32_t* c,
                     int64_t c_stride, const uint32_t* w, bool fresh, uint32_t* sums, int64_t sums_stride) {
  const U32 p = splat(r.p);
  for (int64_t run = 0; run < n; run += kRlweRun, w += inputs * kRlweTile * kRlweRun)
    for (int64_t s = 0; s < samples; ++s) {
      // From one sample to the next is farther than a processor looks ahead by itself.
      const uint32_t* next =
          s + 1 < samples ? c + (s + 1) * c_stride + run * inputs * 2 : c + (run + kRlweRun) * inputs * 2;
      for (int64_t first = 0; first < outputs; first += kRlweOutputs)
        for (int64_t lane = 0; lane < kRlweRun; lane += kRlweLanes) {
          const uint32_t* x = c + s * c_stride + run * inputs * 2 + lane;
          const uint32_t* y = w + first * kRlweRun + lane;
          Wide sum[kRlweOutputs][2] = {};
          for (int64_t i = 0; i < inputs; ++i, x += 2 * kRlweRun, y += kRlweTile * kRlweRun) {
            if (first == 0) {
              __builtin_prefetch(next), __builtin_prefetch(next + kRlweLanes);
              next += 2 * kRlweLanes;
            }
            const Split c0 = split(load<U32>(x)), c1 = split(load<U32>(x + kRlweRun));
#pragma GCC unroll 4
            for (int o = 0; o < kRlweOutputs; ++o) {
              const Split factor = split(load<U32>(y + o * kRlweRun));
              add(sum[o][0], wide_product(c0, factor)), add(sum[o][1], wide_product(c1, factor));
            }
          }
          uint32_t* to = sums + s * sums_stride + (run * kRlweTile + first * kRlweRun) * 2 + lane;
#pragma GCC unroll 8
          for (int o = 0; o < 2 * kRlweOutputs; ++o, to += kRlweRun) {
            const U32 value = reduced(sum[o / 2][o % 2], r);
            store(to, fresh ? value : reduced2(load<U32>(to) + value, p));
          }
        }
    }
}

// From the sums of one answer, from one prime to the next `limb_stride`, to what is kept and what is sent.
// y: 2 x limbs x n; x: n; e: 2 x n.
template <class Ring>
static void finish(const RlweRespondArgs& a, int64_t answer, const uint32_t* sums, int64_t limb_stride, uint32_t* y,
                   uint32_t* x, int8_t* e) {
  const RlweTables& t = *a.weight.tables;
  const int64_t n = t.degree, size = t.limbs * n;
  int8_t* u = e + n;
  sample_ternary(*a.seed, 2 * uint64_t(answer), n, u);
  sample_noise(*a.seed, 2 * uint64_t(answer) + 1, n, e);
  for (int l = 0; l < t.limbs; ++l) {
    const RlwePrime& r = t.prime[l];
    residues(r, n, u, x);
    forward(r, n, x);
    for (int part = 0; part < 2; ++part) {
      uint32_t* to = y + part * size + l * n;
      const uint32_t* key = a.public_key + part * size + l * n;
      from_lanes(n, sums + l * limb_stride + part * kRlweRun, 2 * kRlweTile * kRlweRun, to);
      for (int64_t j = 0; j < n; j += kRlweLanes)
        store(to + j, load<U32>(to + j) + reduced(wide_product(split(load<U32>(x + j)), split(load<U32>(key + j))), r));
      inverse(r, n, kScaleCrt, to);
      if (part == 1) add_small(r, n, e, to);
    }
  }
  Ring *share = (Ring*)a.share + answer * n, *high = (Ring*)a.high + answer * n;
  uint8_t* low = a.low + answer * n;
  if (sizeof(Ring) == 4) {
    const Torus64 torus64(t);
    for (int64_t j = 0; j < n; ++j) share[j] = Ring((torus64(y, j) + (uint64_t(1) << 31)) >> 32);
    for (int64_t j = 0; j < n; ++j) {
      const uint64_t v = torus64(y + size, j) + (uint64_t(1) << 23);
      high[j] = Ring(v >> 32), low[j] = uint8_t(v >> 24);
    }
    return;
  }
  for (int64_t j = 0; j < n; ++j) {
    share[j] = Ring((torus128(t, y, j) + (U128(1) << 63)) >> 64);
    const U128 v = torus128(t, y + size, j) + (U128(1) << 55);
    high[j] = Ring(v >> 64), low[j] = uint8_t(v >> 56);
  }
}

// Tiles, prime after prime, so that the ciphertexts of a prime stay in a cache while all tiles read them; and then
// answers, of as many tiles as there is room for sums.
static void rlwe_respond(const RlweRespondArgs& a, int threads) {
  const RlweWeight& w = a.weight;
  const RlweTables& t = *w.tables;
  const int64_t n = t.degree, tiles = (w.outputs + kRlweTile - 1) / kRlweTile, size = t.limbs * n;
  const int64_t of_sample = 2 * kRlweTile * n;
  for (int64_t sample = 0; sample < a.samples; sample += kRlweSamples)
    for (int64_t first = 0; first < w.groups * tiles; first += a.pass_tiles) {
      const int64_t together = min64(kRlweSamples, a.samples - sample), of_limb = together * of_sample;
      const int64_t pass = min64(a.pass_tiles, w.groups * tiles - first);
#pragma omp parallel num_threads(threads)
      {
        uint32_t* scratch = (uint32_t*)(a.scratch + omp_get_thread_num() * rlwe_respond_bytes(t));
        uint32_t *y = scratch + kRlweChunk * kRlweTile * n, *x = y + 2 * size;
        int8_t* e = (int8_t*)(x + n);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < t.limbs * pass; ++task) {
          const int64_t l = task / pass, tile = first + task % pass, group = tile / tiles;
          uint32_t* sums = a.sums + (task % pass * t.limbs + l) * of_limb;
          for (int64_t chunk = 0; chunk < w.inputs; chunk += kRlweChunk) {
            const int64_t in_chunk = min64(kRlweChunk, w.inputs - chunk);
            const uint32_t* weights = scratch;
            if (tile < a.stored_tiles)
              weights = a.stored + ((tile * w.inputs + chunk) * t.limbs + l * in_chunk) * kRlweTile * n;
            else weight_block(w, group, tile % tiles, chunk, int(l), y, scratch);
            const uint32_t* c = a.ciphertexts + ((sample * w.groups + group) * w.inputs + chunk) * 2 * size;
            multiply(t.prime[l], n, in_chunk, min64(kRlweTile, w.outputs - tile % tiles * kRlweTile), together,
                     c + l * n * in_chunk * 2, w.groups * w.inputs * 2 * size, weights, chunk == 0, sums, of_sample);
          }
        }
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < pass * together * kRlweTile; ++task) {
          const int64_t o = task % kRlweTile, s = task / kRlweTile % together, i = task / kRlweTile / together;
          const int64_t group = (first + i) / tiles, output = (first + i) % tiles * kRlweTile + o;
          if (output >= w.outputs) continue;
          const int64_t answer = ((sample + s) * w.groups + group) * w.outputs + output;
          const uint32_t* sums = a.sums + i * t.limbs * of_limb + s * of_sample + o * 2 * kRlweRun;
          if (t.width == 32) finish<uint32_t>(a, answer, sums, of_limb, y, x, e);
          else finish<uint64_t>(a, answer, sums, of_limb, y, x, e);
        }
      }
    }
}

}  // namespace AR_TIER
}  // namespace autorep
