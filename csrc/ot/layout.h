// Rows of bits, a column an oblivious transfer, and how they become blocks.
//
// `words` words a row are kept in chunks of kChunkWords: chunk c holds words 8 c to 8 c + 7 of row 0, then of row 1,
// and so on; a last chunk of fewer words holds as many of each row. A chunk of 128 rows is as large as its columns'
// blocks, and lies where those will.
#pragma once
#include "cpu/vector.h"
#include "prg/transpose.h"

namespace autorep {
namespace AR_TIER {

enum { kChunkWords = 8, kOtRows = 128 };

#if defined(AR_AVX512)
typedef V512 RowVector;
#elif defined(AR_AVX2)
typedef V256 RowVector;
#else
typedef V128 RowVector;
#endif
enum { kRowWords = sizeof(RowVector) / 8 };

// The columns of kOtRows rows of kRowWords words, `stride` words apart, as blocks.
AR_INLINE void rows_to_blocks(const uint64_t* rows, int64_t stride, uint64_t* blocks) {
  RowVector low[64], high[64];
  for (int r = 0; r < 64; ++r) low[r] = load<RowVector>(rows + r * stride);
  for (int r = 0; r < 64; ++r) high[r] = load<RowVector>(rows + (64 + r) * stride);
  transpose64(low);
  transpose64(high);
  for (int j = 0; j < 64; ++j)
#pragma GCC unroll 8
    for (int w = 0; w < kRowWords; ++w) store(blocks + 2 * (64 * w + j), V128{low[j][w], high[j][w]});
}

// One chunk in place.
static inline void transpose_chunk(uint64_t* chunk, int64_t words) {
  alignas(64) uint64_t rows[kOtRows * kChunkWords];
  for (int r = 0; r < kOtRows; ++r) memcpy(rows + r * kChunkWords, chunk + r * words, size_t(words) * 8);
  int64_t w = 0;
  for (; w + kRowWords <= words; w += kRowWords) rows_to_blocks(rows + w, kChunkWords, chunk + 128 * w);
  if (w < words) {
    alignas(64) uint64_t blocks[128 * kRowWords];
    rows_to_blocks(rows + w, kChunkWords, blocks);
    memcpy(chunk + 128 * w, blocks, size_t(words - w) * 1024);
  }
}

}  // namespace AR_TIER
}  // namespace autorep
