// Rows of bits, a column an oblivious transfer, and how they become blocks.
//
// `words` words a row are kept in chunks of kChunkWords: chunk c holds words 8 c to 8 c + 7 of row 0, then of row 1,
// and so on; a last chunk of fewer words holds as many of each row. A chunk of 128 rows is as large as its columns'
// blocks, and lies where those will.
#pragma once
#include "cpu/vector.h"
#include "prg/transpose.h"

#if defined(AR_AVX512) || defined(AR_AVX2)
#include <immintrin.h>
#endif

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

#if defined(AR_AVX512) || defined(AR_AVX2)

#if defined(AR_AVX512)
#define AR_UNPACK(bits, x, y) \
  (RowVector) _mm512_unpacklo_epi##bits((__m512i)x, (__m512i)y), \
      (RowVector)_mm512_unpackhi_epi##bits((__m512i)x, (__m512i)y)
// x where mask has 0, y where it has 1.
AR_INLINE RowVector either(RowVector mask, RowVector x, RowVector y) {
  return (RowVector)_mm512_ternarylogic_epi64((__m512i)mask, (__m512i)x, (__m512i)y, 0xac);
}
#else
#define AR_UNPACK(bits, x, y) \
  (RowVector) _mm256_unpacklo_epi##bits((__m256i)x, (__m256i)y), \
      (RowVector)_mm256_unpackhi_epi##bits((__m256i)x, (__m256i)y)
AR_INLINE RowVector either(RowVector mask, RowVector x, RowVector y) { return x ^ (mask & (x ^ y)); }
#endif

// Bit i of byte j of row r becomes bit r of byte j of row i, of eight rows.
AR_INLINE void transpose_bits(RowVector* x) {
  static const uint64_t masks[3] = {0xf0f0f0f0f0f0f0f0u, 0xccccccccccccccccu, 0xaaaaaaaaaaaaaaaau};
#pragma GCC unroll 3
  for (int level = 0; level < 3; ++level) {
    const int step = 4 >> level;
    const RowVector high = RowVector{} + masks[level];
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r)
      if (!(r & step)) {
        const RowVector a = x[r], b = x[r + step];
        x[r] = either(high, a, b << step), x[r + step] = either(high, a >> step, b);
      }
  }
}

// Byte j of the vectors 0 to 15 becomes bytes 0 to 15 of vector j % 16, in its 128 bits number j / 16.
AR_INLINE void transpose_bytes(RowVector* x) {
  RowVector y[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const RowVector pair[2] = {AR_UNPACK(8, x[2 * i], x[2 * i + 1])};
    y[i] = pair[0], y[8 + i] = pair[1];
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const RowVector pair[2] = {AR_UNPACK(16, y[2 * i], y[2 * i + 1])};
    x[i / 4 * 8 + i % 4] = pair[0], x[i / 4 * 8 + 4 + i % 4] = pair[1];
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const RowVector pair[2] = {AR_UNPACK(32, x[2 * i], x[2 * i + 1])};
    y[i / 2 * 4 + i % 2] = pair[0], y[i / 2 * 4 + 2 + i % 2] = pair[1];
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const RowVector pair[2] = {AR_UNPACK(64, y[2 * i], y[2 * i + 1])};
    x[2 * i] = pair[0], x[2 * i + 1] = pair[1];
  }
}
#undef AR_UNPACK

// The columns of kOtRows rows of kRowWords words, `stride` words apart, as blocks: bits among eight rows, then bytes.
AR_INLINE void rows_to_blocks(const uint64_t* rows, int64_t stride, uint64_t* blocks) {
  RowVector all[8][16];  // by the column, modulo 8: byte j of vector a holds rows 8 a and up of column 8 j
  for (int a = 0; a < 16; ++a) {
    RowVector x[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) x[r] = load<RowVector>(rows + (8 * a + r) * stride);
    transpose_bits(x);
#pragma GCC unroll 8
    for (int r = 0; r < 8; ++r) all[r][a] = x[r];
  }
  for (int r = 0; r < 8; ++r) {
    RowVector x[16];
#pragma GCC unroll 16
    for (int a = 0; a < 16; ++a) x[a] = all[r][a];
    transpose_bytes(x);
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j)
#pragma GCC unroll 4
      for (int part = 0; part < kRowWords / 2; ++part)
        store(blocks + 2 * (8 * (16 * part + j) + r), V128{x[j][2 * part], x[j][2 * part + 1]});
  }
}

#else

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

#endif

// One chunk in place.
static inline void transpose_chunk(uint64_t* chunk, int64_t words) {
  if (words == kRowWords) return rows_to_blocks(chunk, words, chunk);  // which reads all rows first
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
