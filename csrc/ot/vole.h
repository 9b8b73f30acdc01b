// Subspace VOLE from the leaves of punctured trees, which is OT extension: SoftSpokenOT (Roy, CRYPTO 2022, ePrint
// 2022/192), section 3 and figure 7, with the repetition code.
//
// Tree t has 2^k leaves; leaf x expands to a stream s_x (AES-128 in counter mode), a bit a column. u_t = sum of s_x,
// and row k t + b of the result is the sum of those s_x whose x has bit b. Tree 0's u are the receiver's choices; what
// the others differ by is the message. Where the sender keeps leaf x at place x ^ delta_t, and nothing at place 0, the
// same sums give rows that differ by bit b of delta_t times u_t, and with the message by that times u_0.
#pragma once
#include "cpu/kernels.h"
#include "ot/fold.h"
#include "prg/aes.h"

namespace autorep {
namespace AR_TIER {

enum { kBatchWords = 2 * kAesBlocks };  // of a row, made at a time: what one call of aes() gives

// Words `first` and up of a row of `words` words, as far as it has them, in their chunks; row r of `rows` rows.
AR_INLINE void put_row(const uint64_t* from, uint64_t* to, int64_t rows, int64_t r, int64_t first, int64_t words) {
  for (int64_t w = 0; w < kBatchWords && first + w < words; w += kChunkWords) {
    const int64_t have = min64(kChunkWords, words - first - w);
    uint64_t* at = to + (first + w) * rows + r * have;
    if (have == kChunkWords) memcpy(at, from + w, kChunkWords * 8);
    else memcpy(at, from + w, size_t(have) * 8);
  }
}

AR_INLINE void get_row(uint64_t* to, const uint64_t* from, int64_t rows, int64_t r, int64_t first, int64_t words) {
  for (int64_t w = 0; w < kBatchWords && first + w < words; w += kChunkWords) {
    const int64_t have = min64(kChunkWords, words - first - w);
    const uint64_t* at = from + (first + w) * rows + r * have;
    if (have == kChunkWords) memcpy(to + w, at, kChunkWords * 8);
    else memcpy(to + w, at, size_t(have) * 8);
  }
}

// sum (if wanted) and v[b] of one tree: kAesVectors vectors each.
template <int k, bool kSum>
AR_INLINE void sum_leaves(const RoundKeys* leaves, const Blocks* counter, Blocks* sum, Blocks (*v)[kAesVectors]) {
  enum { kLow = k < 2 ? 1 : 2, kGroup = 1 << kLow };  // the bits within a group of leaves, which stay in registers
  Blocks all[kAesVectors], low[kLow][kAesVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kAesVectors; ++i) {
    all[i] = Blocks{};
    for (int b = 0; b < kLow; ++b) low[b][i] = Blocks{};
  }
  for (int b = kLow; b < k; ++b)
    for (int i = 0; i < kAesVectors; ++i) v[b][i] = Blocks{};
  for (int x = 0; x < 1 << k; x += kGroup) {
    Blocks group[kAesVectors], s[kAesVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kAesVectors; ++i) group[i] = Blocks{};
#pragma GCC unroll 4
    for (int y = 0; y < kGroup; ++y) {
      if (!kSum && x == 0 && y == 0) continue;  // the leaf that the sender has not is in no row
      aes<false>(leaves[x + y], counter, s);
#pragma GCC unroll 8
      for (int i = 0; i < kAesVectors; ++i) {
        group[i] ^= s[i];
        if (y & 1) low[0][i] ^= s[i];
        if (kLow == 2 && y & 2) low[kLow - 1][i] ^= s[i];
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kAesVectors; ++i) all[i] ^= group[i];
    for (int b = kLow; b < k; ++b)
      if (x >> b & 1)
        for (int i = 0; i < kAesVectors; ++i) v[b][i] ^= group[i];
  }
  if (kSum) memcpy(sum, all, sizeof all);
  memcpy(v, low, sizeof low);
}

// Words `first` and up of all rows.
template <int k, bool kSender>
static inline void vole_batch(const VoleArgs& a, int64_t first) {
  enum { kTrees = kOtRows / k };
  uint64_t counters[2 * kAesBlocks];
  for (int b = 0; b < kAesBlocks; ++b) counters[2 * b] = uint64_t(first / 2 + b), counters[2 * b + 1] = a.purpose;
  Blocks counter[kAesVectors], choices[kAesVectors] = {}, sum[kAesVectors], v[k][kAesVectors];
  memcpy(counter, counters, sizeof counter);
  for (int t = 0; t < kTrees; ++t) {
    sum_leaves<k, !kSender>(a.leaves + (int64_t(t) << k), counter, sum, v);
    if (!kSender && t == 0) {
      memcpy(choices, sum, sizeof sum);
      memcpy(a.choices + first, sum, size_t(min64(kBatchWords, a.words - first)) * 8);
    } else if (!kSender) {
      for (int i = 0; i < kAesVectors; ++i) sum[i] ^= choices[i];
      put_row((const uint64_t*)sum, a.message, kTrees - 1, t - 1, first, a.words);
    } else if (t > 0) {
      if (a.words - first < kBatchWords) memset(sum, 0, sizeof sum);
      get_row((uint64_t*)sum, a.message, kTrees - 1, t - 1, first, a.words);
      for (int b = 0; b < k; ++b) {
        const int r = k * t + b;
        const Blocks chosen = Blocks{} - (Blocks{} + (a.delta[r / 64] >> (r % 64) & 1));
        for (int i = 0; i < kAesVectors; ++i) v[b][i] ^= sum[i] & chosen;
      }
    }
    for (int b = 0; b < k; ++b) put_row((const uint64_t*)v[b], a.rows, kOtRows, k * t + b, first, a.words);
  }
}

template <int k, bool kSender>
static void vole_sized(const VoleArgs& a, int threads) {
  if (a.tags) memset(a.tags, 0, kFoldRows * 16);
#pragma omp parallel num_threads(threads)
  {
    Folded folded[kFoldRows];
    if (a.tags) memset(folded, 0, sizeof folded);
#pragma omp for schedule(static)
    for (int64_t first = 0; first < a.words; first += kBatchWords) {
      vole_batch<k, kSender>(a, first);
      if (!a.transposed) continue;
      for (int64_t w = first; w < a.words && w < first + kBatchWords; w += kChunkWords) {
        uint64_t* chunk = a.rows + w * kOtRows;
        const int64_t words = min64(kChunkWords, a.words - w);
        if (a.tags) fold_chunk(chunk, words, a.coefficients + 2 * w, nullptr, folded);
        else transpose_chunk(chunk, words);
      }
    }
    if (a.tags) {
#pragma omp critical(autorep_vole_fold)
      for (int r = 0; r < kFoldRows; ++r) reduce_row(folded[r], a.tags + 2 * r);
    }
  }
}

template <int k>
static void vole_of(const VoleArgs& a, int threads) {
  a.delta ? vole_sized<k, true>(a, threads) : vole_sized<k, false>(a, threads);
}

static void vole(const VoleArgs& a, int threads) {
  switch (a.k) {
    case 1: return vole_of<1>(a, threads);
    case 2: return vole_of<2>(a, threads);
    case 4: return vole_of<4>(a, threads);
    default: return vole_of<8>(a, threads);
  }
}

}  // namespace AR_TIER
}  // namespace autorep
