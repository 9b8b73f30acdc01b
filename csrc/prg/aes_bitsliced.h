// AES-128 without AES instructions and without tables (a table look-up by a secret byte shows in the cache): the state
// of 128 blocks as 128 bit planes, so that rows and columns are only names and the S-box is a circuit.
#pragma once
#include "cpu/vector.h"
#include "prg/key_schedule.h"
#include "prg/sbox.h"
#include "prg/transpose.h"

namespace autorep {
namespace AR_TIER {

enum { kBitslicedBlocks = 128 };

// planes[8 * byte + bit]
template <class W>
static inline void add_round_key(W* planes, const uint8_t* key) {
  for (int i = 0; i < 128; ++i) planes[i] ^= W{} - (W{} + uint64_t(key[i / 8] >> (i % 8) & 1));
}

template <class W>
static inline void mix_column(W (&a)[4][8]) {
  W all[8], first[8];
  for (int i = 0; i < 8; ++i) all[i] = a[0][i] ^ a[1][i] ^ a[2][i] ^ a[3][i], first[i] = a[0][i];
  for (int r = 0; r < 4; ++r) {
    W x[8];
    for (int i = 0; i < 8; ++i) x[i] = a[r][i] ^ (r < 3 ? a[r + 1][i] : first[i]);
    // a[r] ^= all ^ 2 * (a[r] ^ a[r + 1])
    for (int i = 0; i < 8; ++i) {
      W doubled = i ? x[i - 1] : x[7];
      if (i == 1 || i == 3 || i == 4) doubled ^= x[7];
      a[r][i] ^= all[i] ^ doubled;
    }
  }
}

template <bool kFeedForward>
static void aes_bitsliced(const RoundKeys& rk, const V128* x, V128* y) {
  V128 p[128], q[128];
  // Word j of block b goes to half j; blocks 0..63 fill the first component of the planes, 64..127 the second.
  for (int b = 0; b < 64; ++b) {
    p[b] = V128{x[b][0], x[b + 64][0]};
    p[b + 64] = V128{x[b][1], x[b + 64][1]};
  }
  transpose64(p);
  transpose64(p + 64);
  add_round_key(p, rk.bytes);
  for (int r = 1; r <= 10; ++r) {
    for (int byte = 0; byte < 16; ++byte) sbox(p + 8 * byte);
    for (int c = 0; c < 4; ++c) {
      V128 col[4][8];
      for (int row = 0; row < 4; ++row)  // ShiftRows: row r of column c comes from column c + r
        for (int i = 0; i < 8; ++i) col[row][i] = p[8 * (4 * ((c + row) % 4) + row) + i];
      if (r < 10) mix_column(col);
      for (int row = 0; row < 4; ++row)
        for (int i = 0; i < 8; ++i) q[8 * (4 * c + row) + i] = col[row][i];
    }
    add_round_key(q, rk.bytes + 16 * r);
    memcpy(p, q, sizeof p);
  }
  transpose64(p);
  transpose64(p + 64);
  for (int b = 0; b < 64; ++b) {
    const V128 lo = {p[b][0], p[b + 64][0]}, hi = {p[b][1], p[b + 64][1]};
    y[b] = kFeedForward ? lo ^ x[b] : lo;
    y[b + 64] = kFeedForward ? hi ^ x[b + 64] : hi;
  }
}

}  // namespace AR_TIER
}  // namespace autorep
