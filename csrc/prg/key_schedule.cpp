#include "prg/key_schedule.h"

#include <cstring>

#define AR_TIER baseline
#include "prg/sbox.h"

namespace autorep {

static void sub_word(uint8_t word[4]) {
  uint32_t q[8] = {};
  for (int i = 0; i < 8; ++i)
    for (int b = 0; b < 4; ++b) q[i] |= uint32_t(word[b] >> i & 1) << b;
  baseline::sbox(q);
  for (int b = 0; b < 4; ++b) {
    word[b] = 0;
    for (int i = 0; i < 8; ++i) word[b] = uint8_t(word[b] | (q[i] >> b & 1) << i);
  }
}

RoundKeys expand_key(const uint8_t key[16]) {
  RoundKeys rk;
  std::memcpy(rk.bytes, key, 16);
  uint8_t rcon = 1;
  for (int i = 16; i < 176; i += 4) {
    uint8_t w[4];
    std::memcpy(w, rk.bytes + i - 4, 4);
    if (i % 16 == 0) {
      const uint8_t first = w[0];
      w[0] = w[1], w[1] = w[2], w[2] = w[3], w[3] = first;
      sub_word(w);
      w[0] ^= rcon;
      rcon = uint8_t((rcon << 1) ^ (0x1b & -(rcon >> 7)));
    }
    for (int b = 0; b < 4; ++b) rk.bytes[i + b] = uint8_t(rk.bytes[i + b - 16] ^ w[b]);
  }
  return rk;
}

}  // namespace autorep
