// The hash of the consistency check: a row's words times random coefficients, summed in GF(2^128). Rows become blocks
// while they are at hand.
//
// coefficients: 2 words for each word of a row, public. Two rows that differ have the same sum with probability 2^-128,
// for coefficients that are drawn after them. The field: x^128 = x^7 + x^2 + x + 1.
#pragma once
#include "cpu/kernels.h"
#include "ot/carryless.h"
#include "ot/layout.h"

namespace autorep {
namespace AR_TIER {

// What a row's words times the low, and times the high words of the coefficients add up to, before it is reduced.
struct Folded {
  Product low, high;
};

// One chunk's coefficients, low words and high words apart.
AR_INLINE void split_coefficients(const uint64_t* from, int64_t words, uint64_t* low, uint64_t* high) {
  for (int64_t w = 0; w < kChunkWords; ++w) {
    low[w] = w < words ? from[2 * w] : 0;
    high[w] = w < words ? from[2 * w + 1] : 0;
  }
}

AR_INLINE void fold_row(const uint64_t* row, const uint64_t* low, const uint64_t* high, Folded& f) {
#pragma GCC unroll 4
  for (int w = 0; w < kChunkWords; w += kProductWords) {
    const Product x = load<Product>(row + w);
    f.low ^= multiply_pairs(x, load<Product>(low + w));
    f.high ^= multiply_pairs(x, load<Product>(high + w));
  }
}

static inline void reduce_row(const Folded& f, uint64_t* tag) {
  uint64_t t[4] = {};
  for (int w = 0; w < kProductWords; w += 2) {
    t[0] ^= f.low[w], t[1] ^= f.low[w + 1] ^ f.high[w], t[2] ^= f.high[w + 1];
  }
  reduce256(t);
  tag[0] ^= t[0], tag[1] ^= t[1];
}

enum { kFoldRows = kOtRows + 1 };  // the choices are one more, where there are any

// A chunk's rows, and words of the choices, if any, are hashed; and it becomes blocks.
static inline void fold_chunk(uint64_t* chunk, int64_t words, const uint64_t* coefficients, const uint64_t* choices,
                              Folded* folded) {
  alignas(64) uint64_t low[kChunkWords], high[kChunkWords], row[kChunkWords] = {};
  split_coefficients(coefficients, words, low, high);
  for (int r = 0; r < kOtRows; ++r) {
    if (words == kChunkWords) {
      fold_row(chunk + r * kChunkWords, low, high, folded[r]);
    } else {
      memcpy(row, chunk + r * words, size_t(words) * 8);
      fold_row(row, low, high, folded[r]);
    }
  }
  if (choices) {
    memcpy(row, choices, size_t(words) * 8);
    fold_row(row, low, high, folded[kOtRows]);
  }
  transpose_chunk(chunk, words);
}

static void vole_fold(const FoldArgs& a, int threads) {
  memset(a.tags, 0, kFoldRows * 16);
#pragma omp parallel num_threads(threads)
  {
    Folded folded[kFoldRows];
    memset(folded, 0, sizeof folded);
#pragma omp for schedule(static)
    for (int64_t first = 0; first < a.words; first += kChunkWords)
      fold_chunk(a.rows + first * kOtRows, min64(kChunkWords, a.words - first), a.coefficients + 2 * first,
                 a.choices ? a.choices + first : nullptr, folded);
#pragma omp critical(autorep_vole_fold)
    for (int r = 0; r < kFoldRows; ++r) reduce_row(folded[r], a.tags + 2 * r);
  }
}

}  // namespace AR_TIER
}  // namespace autorep
