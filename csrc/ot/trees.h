// Correlated trees: any node is the XOR of its two children, so every level adds up to delta. Guo, Yang, Wang, Zhang,
// Xie, Liu, Zhao, "Half-tree: halving the cost of tree expansion in COT and DPF" (EUROCRYPT 2023, ePrint 2022/1431).
//
// The left child of x is H(x) = p(s(x)) ^ s(x), p AES under a public key, s(low, high) = (high, low ^ high); the right
// one H(x) ^ x. Who lacks a leaf has zero for each node on its path, computes both children alike, and puts in the
// sibling of the path and zero by a mask over all nodes, so that no address depends on where the path is.
#pragma once
#include "cpu/kernels.h"
#include "ot/hash.h"

namespace autorep {
namespace AR_TIER {

// Two vectors' blocks in turn.
AR_INLINE void store_in_turn(uint64_t* to, Blocks x, Blocks y) {
#if defined(AR_AVX512)
  const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  store(to, (Blocks)_mm512_permutex2var_epi64((__m512i)x, low, (__m512i)y));
  store(to + 8, (Blocks)_mm512_permutex2var_epi64((__m512i)x, high, (__m512i)y));
#else
  store(to, x);
  store(to + 2, y);
#endif
}

AR_INLINE void add_block(Blocks x, uint64_t* sum) {
  for (int b = 0; b < kBlocksPerVector; ++b) sum[0] ^= x[2 * b], sum[1] ^= x[2 * b + 1];
}

// What a level of a tree that lacks a path still needs: XORed to the two children of node `parent`, 0 to none.
struct Correction {
  uint64_t parent, children[4];
};

// A correction as vectors against consecutive nodes: vector i of a group gets what belongs to it.
struct Corrector {
  Blocks children[2], parent, lanes, at;

  AR_INLINE_MEMBER explicit Corrector(const Correction& c) {
    uint64_t both[2][2 * kBlocksPerVector], numbers[2 * kBlocksPerVector];
    for (int b = 0; b < kBlocksPerVector; ++b)
      for (int w = 0; w < 2; ++w) {
        both[0][2 * b + w] = c.children[b % 2 * 2 + w];
        both[1][2 * b + w] = c.children[(b + kBlocksPerVector) % 2 * 2 + w];
        numbers[2 * b + w] = uint64_t(b);
      }
    memcpy(children, both, sizeof both);
    lanes = at = load<Blocks>(numbers);
    parent = Blocks{} + c.parent;
  }

  AR_INLINE_MEMBER void start(int64_t first) { at = lanes + uint64_t(first); }

  AR_INLINE_MEMBER Blocks next(int i) {
    const Blocks here = (Blocks)((at >> 1) == parent);
    at += uint64_t(kBlocksPerVector);
    return children[i & 1] & here;
  }
};

// The children of kAesBlocks nodes, number `first` and up, in place; all left ones are added to sums[0], right to [1].
template <bool kLacking>
AR_INLINE void expand_nodes(const RoundKeys& key, uint64_t* nodes, int64_t first, Corrector& corrector, Blocks* sums) {
  Blocks x[kAesVectors], s[kAesVectors], h[kAesVectors];
  memcpy(x, nodes + 2 * first, sizeof x);
  if (kLacking) {
    corrector.start(first);
#pragma GCC unroll 8
    for (int i = 0; i < kAesVectors; ++i) x[i] ^= corrector.next(i);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kAesVectors; ++i) s[i] = sigma(x[i]);
  aes<true>(key, s, h);
  uint64_t* children = nodes + 4 * first;
#pragma GCC unroll 8
  for (int i = 0; i < kAesVectors; ++i) {
    const Blocks right = x[i] ^ h[i];
    sums[0] ^= h[i], sums[1] ^= right;
    store_in_turn(children + 4 * i * kBlocksPerVector, h[i], right);
  }
}

// The next level, of 2 m nodes. `sums`: both sums, four words.
template <bool kLacking>
static inline void expand_level(const RoundKeys& key, uint64_t* nodes, int64_t m, const Correction& c, uint64_t* sums) {
  Blocks added[2] = {};
  Corrector corrector(c);
  memset(sums, 0, 32);
  for (int64_t first = (m - 1) / kAesBlocks * kAesBlocks; first >= 0; first -= kAesBlocks)
    expand_nodes<kLacking>(key, nodes, first, corrector, added);
  add_block(added[0], sums);
  add_block(added[1], sums + 2);
}

// The lowest bit says which leaf is missing: in its place comes what all others add up to. Whole groups of leaves.
template <bool kLacking>
static inline void finish_leaves(const Correction& c, uint64_t missing, int64_t size, uint64_t* leaves) {
  uint64_t rest[2] = {};
  if (kLacking) {
    Corrector corrector(c);
    Blocks sum = {};
    for (int64_t j = 0; j < size; j += kAesBlocks)
#pragma GCC unroll 8
      for (int i = 0; i < kAesVectors; ++i) {
        uint64_t* at = leaves + 2 * (j + i * kBlocksPerVector);
        const Blocks leaf = load<Blocks>(at) ^ corrector.next(i);
        store(at, leaf);
        sum ^= leaf;
      }
    add_block(sum, rest);
    rest[0] |= 1;
  }
  const Blocks clear = constant(~uint64_t(1), ~uint64_t(0)), put = constant(rest[0], rest[1]);
  const Blocks at = constant(missing, missing), step = constant(kBlocksPerVector, kBlocksPerVector);
  uint64_t numbers[2 * kBlocksPerVector];
  for (int b = 0; b < kBlocksPerVector; ++b) numbers[2 * b] = numbers[2 * b + 1] = uint64_t(b);
  Blocks number = load<Blocks>(numbers);
  for (int64_t j = 0; j < size; j += kBlocksPerVector) {
    Blocks leaf = load<Blocks>(leaves + 2 * j) & clear;
    if (kLacking) leaf |= put & (Blocks)(number == at);
    store(leaves + 2 * j, leaf);
    number += step;
  }
}

// From 2 nodes to 2^depth leaves. sums: of a full tree, of all left nodes of each level, which are written; of one that
// lacks leaf `missing`, of each level's nodes on the side where that is not.
template <bool kLacking>
static inline void one_tree(const TreesArgs& a, uint64_t missing, const uint64_t* start, uint64_t* sums,
                            uint64_t* leaves) {
  enum { kSmall = 2 * kAesBlocks };  // up to here a level is less than what is expanded at a time
  alignas(64) uint64_t small[2 * kSmall] = {}, both[4], idle[4];
  const int64_t size = int64_t(1) << a.depth;
  Correction c{};
  memcpy(small, start, 32);
  if (!kLacking) memcpy(sums, start, 16);
  // What both children of a node that is zero are.
  if (kLacking) {
    alignas(64) uint64_t zero[2 * kSmall] = {};
    expand_level<false>(*a.key, zero, 1, c, both);
    memcpy(idle, zero, 32);
  }
  uint64_t* nodes = small;
  for (int level = 1; level < a.depth; ++level) {
    const int64_t m = int64_t(1) << level;
    if (nodes == small && m == kAesBlocks && size >= kSmall) {
      memcpy(leaves, small, size_t(m) * 16);
      nodes = leaves;
    }
    expand_level<kLacking>(*a.key, nodes, m, c, both);
    if (nodes == small && 2 * m < kSmall) memset(small + 4 * m, 0, size_t(kSmall - 2 * m) * 16);
    if (!kLacking) {
      memcpy(sums + 2 * level, both, 16);
    } else {
      const uint64_t left = 0 - (missing >> (a.depth - 1 - level) & 1);  // the path goes right: the sibling is left
      c.parent = missing >> (a.depth - level);
      for (int w = 0; w < 2; ++w) {
        const uint64_t known = both[2 + w] ^ ((both[w] ^ both[2 + w]) & left);
        const uint64_t sibling = sums[2 * level + w] ^ known ^ idle[w];
        c.children[w] = idle[w] ^ (sibling & left), c.children[2 + w] = idle[w] ^ (sibling & ~left);
      }
    }
  }
  finish_leaves<kLacking>(c, missing, size < kAesBlocks ? int64_t(kAesBlocks) : size, nodes);
  if (nodes == small) memcpy(leaves, small, size_t(size) * 16);
}

static void trees(const TreesArgs& a, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t t = 0; t < a.trees; ++t) {
    uint64_t start[4], *sums = a.sums + 2 * t * a.depth, *leaves = a.leaves + (2 * t << a.depth);
    if (a.missing) {
      const uint64_t missing = a.missing[t], left = 0 - (missing >> (a.depth - 1) & 1);
      for (int w = 0; w < 2; ++w) start[w] = sums[w] & left, start[2 + w] = sums[w] & ~left;
      one_tree<true>(a, missing, start, sums, leaves);
    } else {
      for (int w = 0; w < 2; ++w) start[w] = a.roots[2 * t + w], start[2 + w] = start[w] ^ a.delta[w];
      one_tree<false>(a, 0, start, sums, leaves);
    }
  }
}

}  // namespace AR_TIER
}  // namespace autorep
