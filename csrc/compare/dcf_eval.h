// Evaluation of comparison keys at public points. See dcf.h.
#pragma once
#include "compare/dcf.h"

namespace autorep {
namespace AR_TIER {

// sum[c][i] += hash + (t & correction), for the hashes of one group
template <class O, int kPayloads>
AR_INLINE void collect(const Group& g, int64_t offset, const Blocks* t, const Blocks (*v)[kU], Blocks (*sum)[kU]) {
  using Of = Values<O, kPayloads>;
#pragma GCC unroll 3
  for (int c = 0; c < Of::kBlocks; ++c)
#pragma GCC unroll 8
    for (int i = 0; i < kU; ++i) sum[c][i] = plus<O>(sum[c][i], plus<O>(v[c][i], t[i] & Of::get(g, offset, c, i)));
}

// One group. x and roots are padded to whole groups by the caller; out has kPayloads words an element.
template <class O, int kPayloads>
static void eval_group(const DcfEvalArgs& a, const Group& g, const uint64_t* x_words, const uint64_t* roots, O* out) {
  using Of = Values<O, kPayloads>;
  enum { kValues = Of::kBlocks, kPlaces = Of::kPlaces };
  const DcfLayout& l = *a.layout;
  const Blocks low_bit = constant(1, 0), low_word = constant(~uint64_t(0), 0);
  Blocks x[kU], pick[kU], s[kU], t[kU], sum[kValues][kU];
#pragma GCC unroll 8
  for (int i = 0; i < kU; ++i) {
    x[i] = load_single(x_words + i * kBlocksPerVector);
    const Blocks control = load_single(g.at(i, 0, 1));
    const Blocks right = l.control_words > kDcfBlock ? load_single(g.at(i, kDcfBlock, 1)) : control >> 32;
    pick[i] = choose(x[i], right, control);
    s[i] = load_pair(roots + 2 * i * kBlocksPerVector) & ~low_bit;
    t[i] = Blocks{} - (Blocks{} + uint64_t(a.party));
    for (int c = 0; c < kValues; ++c) sum[c][i] = Blocks{};
  }
  int64_t offset = l.control_words;
  for (int level = 0; level < l.levels; ++level, offset += l.level_words) {
    const int bit = l.bits - 1 - level;
    g.prefetch<0>(offset, l.level_words);
    Blocks z[kU], tweak[kU], child[kU], v[kValues][kU];
#pragma GCC unroll 8
    for (int i = 0; i < kU; ++i) {
      z[i] = sigma(s[i]);
      tweak[i] = mask_of_bit(x[i], bit) & constant(4, 0);
    }
    hash_each(*a.key, z, tweak, child);
#pragma GCC unroll 3
    for (int c = 0; c < kValues; ++c) {
#pragma GCC unroll 8
      for (int i = 0; i < kU; ++i) tweak[i] ^= constant(c == 1 ? 3 : 1, 0);  // 1, 2, 3
      hash_each(*a.key, z, tweak, v[c]);
    }
    collect<O, kPayloads>(g, offset + 2 * kDcfBlock, t, v, sum);
#pragma GCC unroll 8
    for (int i = 0; i < kU; ++i) {
      s[i] = (child[i] & ~low_bit) ^ (t[i] & load_pair(g.at(i, offset, 2)));
      t[i] = mask_of_control(child[i]) ^ (t[i] & mask_of_bit(pick[i], bit));
    }
  }
  g.prefetch<0>(offset, l.block_words - offset);
  g.prefetch<0>(0, l.control_words);
  // The leaf of each element: all corrections are read, one is kept.
  Blocks z[kU], tweak[kU], v[kValues][kU], leaf[kU];
  const uint64_t last = (uint64_t(1) << l.leaf_bits) - 1;
#pragma GCC unroll 8
  for (int i = 0; i < kU; ++i) {
    z[i] = sigma(s[i]);
    leaf[i] = x[i] & (Blocks{} + last);
    tweak[i] = (constant(uint64_t(Of::kLeaf), 0) | (leaf[i] << int(Of::kLeafShift))) & low_word;
  }
#pragma GCC unroll 3
  for (int c = 0; c < kValues; ++c) {
    hash_each(*a.key, z, tweak, v[c]);
#pragma GCC unroll 8
    for (int i = 0; i < kU; ++i) tweak[i] ^= constant(c == 0 ? 1 : 3, 0);  // 0, 1, 2
  }
  for (uint64_t j = 0; j <= last; ++j, offset += l.value_words) {
    Blocks here[kU];
#pragma GCC unroll 8
    for (int i = 0; i < kU; ++i) {
      // All ones where leaf == j: both are below 4.
      const Blocks d = leaf[i] ^ (Blocks{} + j);
      here[i] = ((d - 1) & ~d) >> 63;
      here[i] = Blocks{} - here[i];
    }
    Blocks masked[kValues][kU], both[kU];
#pragma GCC unroll 3
    for (int c = 0; c < kValues; ++c)
#pragma GCC unroll 8
      for (int i = 0; i < kU; ++i) masked[c][i] = v[c][i] & here[i];
#pragma GCC unroll 8
    for (int i = 0; i < kU; ++i) both[i] = t[i] & here[i];
    collect<O, kPayloads>(g, offset, both, masked, sum);
  }
  const Blocks sign = Blocks{} - (Blocks{} + uint64_t(a.party));
  alignas(64) O words[kValues][kPlaces * kAesBlocks];
  for (int c = 0; c < kValues; ++c)
    for (int i = 0; i < kU; ++i) store(words[c] + kPlaces * i * kBlocksPerVector, negate_if<O>(sign, sum[c][i]));
  for (int e = 0; e < kAesBlocks; ++e)
    for (int p = 0; p < kPayloads; ++p) out[e * kPayloads + p] = words[p / kPlaces][kPlaces * e + p % kPlaces];
}

template <class O, int kPayloads>
static void eval_all(const DcfEvalArgs& a, int threads) {
  const int64_t groups = (a.n + kAesBlocks - 1) / kAesBlocks;
  O* const out = static_cast<O*>(a.out);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t index = 0; index < groups; ++index) {
    const int64_t first = index * kAesBlocks, have = min64(kAesBlocks, a.n - first);
    const Group g{a.layout, const_cast<uint64_t*>(a.blocks), a.first + first, a.last_block};
    if (have == kAesBlocks) {
      eval_group<O, kPayloads>(a, g, a.x + first, a.roots + 2 * first, out + kPayloads * first);
      continue;
    }
    alignas(64) uint64_t x[kAesBlocks] = {}, roots[2 * kAesBlocks] = {};
    alignas(64) O found[kPayloads * kAesBlocks];
    memcpy(x, a.x + first, size_t(have) * 8);
    memcpy(roots, a.roots + 2 * first, size_t(have) * 16);
    eval_group<O, kPayloads>(a, g, x, roots, found);
    memcpy(out + kPayloads * first, found, size_t(have * kPayloads) * sizeof(O));
  }
}

template <class O>
AR_INLINE void eval_width(const DcfEvalArgs& a, int threads) {
  switch (a.layout->payloads) {
    case 1: return eval_all<O, 1>(a, threads);
    case 2: return eval_all<O, 2>(a, threads);
    default: return eval_all<O, 3>(a, threads);
  }
}

static void eval_dcf(const DcfEvalArgs& a, int threads) {
  switch (a.layout->payloads) {  // more than three are of 64 bits
    case 4: return eval_all<uint64_t, 4>(a, threads);
    case 5: return eval_all<uint64_t, 5>(a, threads);
    case 6: return eval_all<uint64_t, 6>(a, threads);
  }
  a.layout->word_bytes == 4 ? eval_width<uint32_t>(a, threads) : eval_width<uint64_t>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
