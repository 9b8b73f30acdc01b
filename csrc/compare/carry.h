// The carry (or borrow) into the top position as a tree over bit planes, on XOR shares: the local steps.
//
// A node is (g, p): generates a carry, propagates one. Two neighbours merge, upper over lower:
//   g = g1 ^ (p1 & g0),  p = p1 & p0
// with two ANDs that share p1, by a triple with a common a: masks a for p1, b for g0, c for p0, and a & b, a & c. The
// lowest node needs no p, ever. A level of `nodes` makes pairs = nodes / 2 merges; an odd node at the top goes on
// unchanged.
//
// Rows: pairs from the top one down to pair 0.
//   a        pairs rows
//   b        pairs rows for g0, then pairs - 1 rows for p0 (all but pair 0)
//   c        the products, in the order of b
//   message  p1 ^ a (pairs rows), then g0 ^ b and p0 ^ b in the order of b
#pragma once
#include "cpu/kernels.h"
#include "cpu/vector.h"

namespace autorep {
namespace AR_TIER {

enum { kColumns = 512 };  // words of a row that are worked on at a time

static void carry_open(const CarryArgs& a, int threads) {
  const int64_t pairs = a.nodes / 2, words = a.words;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t chunk = 0; chunk < (words + kColumns - 1) / kColumns; ++chunk) {
    const int64_t begin = chunk * kColumns, n = min64(kColumns, words - begin);
    const auto mask = [&](const uint64_t* x, const uint64_t* y, uint64_t* out) {
      for (int64_t w = 0; w < n; ++w) out[w] = x[w] ^ y[w];
    };
    for (int64_t row = 0; row < pairs; ++row) {
      const int64_t low = 2 * (pairs - 1 - row);
      const uint64_t *g0 = a.g + low * words + begin, *p0 = a.p + low * words + begin, *p1 = p0 + words;
      mask(p1, a.a + row * words + begin, a.message + row * words + begin);
      mask(g0, a.b + row * words + begin, a.message + (pairs + row) * words + begin);
      if (low) mask(p0, a.b + (pairs + row) * words + begin, a.message + (2 * pairs + row) * words + begin);
    }
  }
}

// x & y from d = x ^ a and e = y ^ b, both opened: c ^ (d & b) ^ (e & a) ^ [party 0] (d & e)
AR_INLINE uint64_t and_share(uint64_t d, uint64_t e, uint64_t a, uint64_t b, uint64_t c, uint64_t first) {
  return c ^ (d & (b ^ (e & first))) ^ (e & a);
}

static void carry_close(const CarryArgs& a, int threads) {
  const int64_t pairs = a.nodes / 2, words = a.words;
  const uint64_t first = a.party == 0 ? ~uint64_t(0) : 0;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t chunk = 0; chunk < (words + kColumns - 1) / kColumns; ++chunk) {
    const int64_t begin = chunk * kColumns, n = min64(kColumns, words - begin);
    for (int64_t row = 0; row < pairs; ++row) {
      const int64_t pair = pairs - 1 - row, pr = pairs + row;
      const auto at = [&](const uint64_t* base, int64_t r) { return base + r * words + begin; };
      const uint64_t *g1 = at(a.g, 2 * pair + 1), *ra = at(a.a, row), *b = at(a.b, row), *c = at(a.c, row);
      const uint64_t *d = at(a.message, row), *d2 = at(a.received, row), *e = at(a.message, pr),
                     *e2 = at(a.received, pr);
      uint64_t* g = a.g_out + pair * words + begin;
      uint64_t* p = a.p_out + pair * words + begin;
      for (int64_t w = 0; w < n; ++w) g[w] = g1[w] ^ and_share(d[w] ^ d2[w], e[w] ^ e2[w], ra[w], b[w], c[w], first);
      if (pair == 0) {
        memset(p, 0, size_t(n) * 8);
        continue;
      }
      const int64_t fr = 2 * pairs + row;
      const uint64_t *b2 = at(a.b, pr), *c2 = at(a.c, pr), *f = at(a.message, fr), *f2 = at(a.received, fr);
      for (int64_t w = 0; w < n; ++w) p[w] = and_share(d[w] ^ d2[w], f[w] ^ f2[w], ra[w], b2[w], c2[w], first);
    }
    if (a.nodes % 2) {
      memcpy(a.g_out + pairs * words + begin, a.g + (a.nodes - 1) * words + begin, size_t(n) * 8);
      memcpy(a.p_out + pairs * words + begin, a.p + (a.nodes - 1) * words + begin, size_t(n) * 8);
    }
  }
}

// Leaves of the borrow of m - r, m public: g = not m and r, p = not (m xor r), on XOR shares of r.
static void borrow_bits(const BorrowArgs& a, int threads) {
  const uint64_t first = a.party == 0 ? ~uint64_t(0) : 0;
#pragma omp parallel for simd schedule(static) num_threads(threads)
  for (int64_t i = 0; i < a.n; ++i) {
    const uint64_t not_m = ~a.m[i], r = a.r[i];
    a.g[i] = not_m & r;
    a.p[i] = r ^ (not_m & first);
  }
}

// c becomes (a & b) ^ c where a, b are the sums of both parties' shares: row i of b meets row i % a_rows of a.
static void deal_and(const DealAndArgs& a, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t row = 0; row < a.b_rows; ++row) {
    const int64_t ra = row % a.a_rows * a.words, rb = row * a.words;
    for (int64_t w = 0; w < a.words; ++w) a.c[rb + w] ^= (a.a0[ra + w] ^ a.a1[ra + w]) & (a.b0[rb + w] ^ a.b1[rb + w]);
  }
}

}  // namespace AR_TIER
}  // namespace autorep
