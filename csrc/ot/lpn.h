// Learning parity with noise on blocks: a sparse public matrix times a short vector, added to a long one; and the hash
// by which both parties' long vectors are compared.
#pragma once
#include "cpu/kernels.h"
#include "ot/carryless.h"
#include "ot/hash.h"

namespace autorep {
namespace AR_TIER {

enum { kLpnRows = 64, kLpnOnes = 10, kLpnBlocks = kLpnRows * kLpnOnes / 4 };  // at a time; 4 numbers a block of AES

// Which entries of the vector the rows of group `group` add up: kLpnOnes of `size` for each, with repetition.
static inline void lpn_entries(const LpnArgs& a, int64_t group, uint32_t* entries) {
  enum { kCalls = (kLpnBlocks + kAesBlocks - 1) / kAesBlocks };
  alignas(64) uint32_t random[kCalls * kAesBlocks * 4];
  Tweaks counter(uint64_t(a.first / kLpnRows + group) * kLpnBlocks, 0);
  for (int c = 0; c < kCalls; ++c) {
    Blocks x[kAesVectors];
    aes<false>(*a.key, counter.next, x);
    memcpy(random + c * kAesBlocks * 4, x, sizeof x);
    counter.advance();
  }
  const uint32_t size = uint32_t(a.size);
  for (int i = 0; i < kLpnRows * kLpnOnes; ++i) entries[i] = uint32_t(uint64_t(random[i]) * size >> 32);
}

static void lpn(const LpnArgs& a, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t g = 0; g < a.n / kLpnRows; ++g) {
    alignas(64) uint32_t entries[kLpnRows * kLpnOnes];
    lpn_entries(a, g, entries);
    uint64_t* out = a.blocks + 2 * kLpnRows * g;
    for (int r = 0; r < kLpnRows; ++r) {
      V128 sum = load<V128>(out + 2 * r);
#pragma GCC unroll 10
      for (int i = 0; i < kLpnOnes; ++i) sum ^= load<V128>(a.vector + 2 * int64_t(entries[r * kLpnOnes + i]));
      store(out + 2 * r, sum);
    }
  }
}

// tags: the sum of block i times coefficient `first` + i in GF(2^128), coefficients being AES of the counter; and the
// sum of the coefficients of blocks whose lowest bit is 1. Vectors of Product hold whole blocks.
static void block_fold(const BlockFoldArgs& a, int threads) {
  enum { kProductBlocks = kProductWords / 2 };
  static_assert(sizeof(Product) == sizeof(Blocks), "a vector of words is one of blocks");
  memset(a.tags, 0, 32);
#pragma omp parallel num_threads(threads)
  {
    Product outer = {}, middle = {}, upper = {}, marked = {};
#pragma omp for schedule(static)
    for (int64_t begin = 0; begin < a.n; begin += kOtGroup) {
      const int64_t have = min64(kOtGroup, a.n - begin);
      alignas(64) uint64_t coefficients[2 * kOtGroup];
      Tweaks counter(uint64_t(a.first + begin), 0);
      for (int64_t g = 0; g < kOtGroup; g += kAesBlocks) {
        Blocks x[kAesVectors];
        aes<false>(*a.key, counter.next, x);
        memcpy(coefficients + 2 * g, x, sizeof x);
        counter.advance();
      }
      for (int64_t i = 0; i < have; i += kProductBlocks) {
        const Product x = load<Product>(a.blocks + 2 * (begin + i)), c = load<Product>(coefficients + 2 * i);
        marked ^= c & (Product{} - (low_twice(x) & 1));
        multiply_halves(x, c, outer, upper);
        middle ^= multiply_pairs(x, swap_words(c));
      }
    }
    uint64_t t[4] = {}, m[2] = {};
    for (int w = 0; w < kProductWords; w += 2) {
      t[0] ^= outer[w], t[1] ^= outer[w + 1] ^ middle[w], t[2] ^= upper[w] ^ middle[w + 1], t[3] ^= upper[w + 1];
      m[0] ^= marked[w], m[1] ^= marked[w + 1];
    }
    reduce256(t);
#pragma omp critical(autorep_block_fold)
    for (int w = 0; w < 2; ++w) a.tags[w] ^= t[w], a.tags[2 + w] ^= m[w];
  }
}

}  // namespace AR_TIER
}  // namespace autorep
