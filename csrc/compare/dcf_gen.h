// Generation of comparison keys by the dealer. See dcf.h.
#pragma once
#include "compare/dcf.h"

namespace autorep {
namespace AR_TIER {

template <class O, int kPayloads>
struct GenState {
  enum { kValues = Values<O, kPayloads>::kBlocks };
  // Per party: seed and control mask. `due` is what the values on alpha's path sum to so far.
  Blocks s[2][kU], t[2][kU], due[kValues][kU], payload[kValues][kU];
};

// correction = (-1)^t1 * (v1 - v0 - due + payload where `add` is set); written to the key, and kept in cw.
template <class O, int kPayloads>
AR_INLINE void correct_values(const GenState<O, kPayloads>& st, const Group& g, int64_t offset, const Blocks* add,
                              const Blocks (*v0)[kU], const Blocks (*v1)[kU], Blocks (*cw)[kU]) {
  using Of = Values<O, kPayloads>;
#pragma GCC unroll 3
  for (int c = 0; c < Of::kBlocks; ++c)
#pragma GCC unroll 8
    for (int i = 0; i < kU; ++i) {
      const Blocks gap = minus<O>(minus<O>(v1[c][i], v0[c][i]), st.due[c][i]);
      cw[c][i] = negate_if<O>(st.t[1][i], plus<O>(gap, add[i] & st.payload[c][i]));
      if (g.inside(i)) Of::put(g, offset, c, i, cw[c][i]);
    }
}

template <class O, int kPayloads>
static void gen_group(const DcfGenArgs& a, const Group& g, const uint64_t* alpha_words, const O* payload,
                      const uint64_t* const* roots) {
  enum { kValues = Values<O, kPayloads>::kBlocks, kPlaces = Values<O, kPayloads>::kPlaces };
  const DcfLayout& l = *a.layout;
  const Blocks low_bit = constant(1, 0), one = Blocks{} + 1;
  GenState<O, kPayloads> st;
  alignas(64) O words[kValues][kPlaces * kAesBlocks] = {};
  for (int e = 0; e < kAesBlocks; ++e)
    for (int p = 0; p < kPayloads; ++p) words[p / kPlaces][kPlaces * e + p % kPlaces] = payload[e * kPayloads + p];
  Blocks alpha[kU], bits_left[kU], bits_right[kU];
  for (int i = 0; i < kU; ++i) {
    alpha[i] = load_single(alpha_words + i * kBlocksPerVector);
    bits_left[i] = bits_right[i] = Blocks{};
    for (int p = 0; p < 2; ++p) {
      st.s[p][i] = load_pair(roots[p] + 2 * i * kBlocksPerVector) & ~low_bit;
      st.t[p][i] = Blocks{} - (Blocks{} + uint64_t(p));
    }
    for (int c = 0; c < kValues; ++c) {
      st.due[c][i] = Blocks{};
      st.payload[c][i] = load<Blocks>(words[c] + kPlaces * i * kBlocksPerVector);
    }
  }
  int64_t offset = l.control_words;
  for (int level = 0; level < l.levels; ++level, offset += l.level_words) {
    const int bit = l.bits - 1 - level;
    g.prefetch<1>(offset, l.level_words);
    Blocks child[2][2][kU], lose[2][kValues][kU], keep[2][kValues][kU], right[kU];  // child[party][direction]
    for (int i = 0; i < kU; ++i) right[i] = mask_of_bit(alpha[i], bit);
    for (int p = 0; p < 2; ++p) {
      Blocks z[kU], v[2][kU];
      for (int i = 0; i < kU; ++i) z[i] = sigma(st.s[p][i]);
      for (int d = 0; d < 2; ++d) hash(*a.key, z, constant(uint64_t(4 * d), 0), child[p][d]);
      for (int c = 0; c < kValues; ++c) {
        for (int d = 0; d < 2; ++d) hash(*a.key, z, constant(uint64_t(4 * d + 1 + c), 0), v[d]);
        for (int i = 0; i < kU; ++i) {
          keep[p][c][i] = choose(right[i], v[1][i], v[0][i]);
          lose[p][c][i] = choose(right[i], v[0][i], v[1][i]);
        }
      }
    }
    Blocks cw[kValues][kU];
    correct_values<O, kPayloads>(st, g, offset + 2 * kDcfBlock, right, lose[0], lose[1], cw);
    for (int i = 0; i < kU; ++i) {
      for (int c = 0; c < kValues; ++c) {
        const Blocks corrected = negate_if<O>(st.t[1][i], cw[c][i]);
        st.due[c][i] = plus<O>(st.due[c][i], plus<O>(minus<O>(keep[0][c][i], keep[1][c][i]), corrected));
      }
      const Blocks tl = mask_of_control(child[0][0][i] ^ child[1][0][i]) ^ ~right[i];
      const Blocks tr = mask_of_control(child[0][1][i] ^ child[1][1][i]) ^ right[i];
      bits_left[i] |= (tl & one) << bit;
      bits_right[i] |= (tr & one) << bit;
      const Blocks seed_cw =
          choose(right[i], child[0][0][i] ^ child[1][0][i], child[0][1][i] ^ child[1][1][i]) & ~low_bit;
      if (g.inside(i)) store(g.at(i, offset, 2), seed_cw);
      const Blocks t_cw = choose(right[i], tr, tl);
      for (int p = 0; p < 2; ++p) {
        const Blocks next = choose(right[i], child[p][1][i], child[p][0][i]);
        st.s[p][i] = (next & ~low_bit) ^ (st.t[p][i] & seed_cw);
        st.t[p][i] = mask_of_control(next) ^ (st.t[p][i] & t_cw);
      }
    }
  }
  g.prefetch<1>(offset, l.block_words - offset);
  const uint64_t last = (uint64_t(1) << l.leaf_bits) - 1;
  for (uint64_t j = 0; j <= last; ++j, offset += l.value_words) {
    Blocks v[2][kValues][kU], below[kU], cw[kValues][kU];
    for (int p = 0; p < 2; ++p) {
      Blocks z[kU];
      for (int i = 0; i < kU; ++i) z[i] = sigma(st.s[p][i]);
      for (int c = 0; c < kValues; ++c) {
        const uint64_t leaf = uint64_t(Values<O, kPayloads>::kLeaf) + (j << int(Values<O, kPayloads>::kLeafShift));
        hash(*a.key, z, constant(leaf + uint64_t(c), 0), v[p][c]);
      }
    }
    // All ones where j < the last bits of alpha: both are below 4, so the difference's sign says it.
    for (int i = 0; i < kU; ++i) below[i] = mask_of_bit((Blocks{} + j) - (alpha[i] & (Blocks{} + last)), 63);
    correct_values<O, kPayloads>(st, g, offset, below, v[0], v[1], cw);
  }
  for (int i = 0; i < kU; ++i) {
    if (!g.inside(i)) continue;
    if (l.control_words > kDcfBlock) {
      store_single(g.at(i, 0, 1), bits_left[i]);
      store_single(g.at(i, kDcfBlock, 1), bits_right[i]);
    } else {
      store_single(g.at(i, 0, 1), bits_left[i] | bits_right[i] << 32);
    }
  }
}

template <class O, int kPayloads>
static void gen_all(const DcfGenArgs& a, int threads) {
  const O* const payloads = static_cast<const O*>(a.payload);
  // Whole blocks, so that the slots past n hold the same on every tier (keys for zeros under roots of zeros).
  const int64_t groups = ((a.last_block + 1) * kDcfBlock + kAesBlocks - 1) / kAesBlocks;
  // Halves of one key block are written by two groups: whole blocks a thread, so that no two write the same cache line.
#pragma omp parallel for schedule(static, 16) num_threads(threads)
  for (int64_t index = 0; index < groups; ++index) {
    const int64_t first = index * kAesBlocks, left = a.n - first;
    const int64_t have = left < 0 ? 0 : min64(kAesBlocks, left);
    const Group g{a.layout, a.blocks, first, a.last_block};
    if (have == kAesBlocks) {
      const uint64_t* roots[2] = {a.roots[0] + 2 * first, a.roots[1] + 2 * first};
      gen_group<O, kPayloads>(a, g, a.alpha + first, payloads + kPayloads * first, roots);
      continue;
    }
    alignas(64) uint64_t alpha[kAesBlocks] = {}, root[2][2 * kAesBlocks] = {};
    alignas(64) O payload[kPayloads * kAesBlocks] = {};
    memcpy(alpha, a.alpha + first, size_t(have) * 8);
    memcpy(payload, payloads + kPayloads * first, size_t(have * kPayloads) * sizeof(O));
    for (int p = 0; p < 2; ++p) memcpy(root[p], a.roots[p] + 2 * first, size_t(have) * 16);
    const uint64_t* roots[2] = {root[0], root[1]};
    gen_group<O, kPayloads>(a, g, alpha, payload, roots);
  }
}

template <class O>
AR_INLINE void gen_width(const DcfGenArgs& a, int threads) {
  switch (a.layout->payloads) {
    case 1: return gen_all<O, 1>(a, threads);
    case 2: return gen_all<O, 2>(a, threads);
    default: return gen_all<O, 3>(a, threads);
  }
}

static void gen_dcf(const DcfGenArgs& a, int threads) {
  switch (a.layout->payloads) {  // more than three are of 64 bits
    case 4: return gen_all<uint64_t, 4>(a, threads);
    case 5: return gen_all<uint64_t, 5>(a, threads);
    case 6: return gen_all<uint64_t, 6>(a, threads);
  }
  a.layout->word_bytes == 4 ? gen_width<uint32_t>(a, threads) : gen_width<uint64_t>(a, threads);
}

}  // namespace AR_TIER
}  // namespace autorep
