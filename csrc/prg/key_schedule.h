// AES-128 round keys, computed in constant time (the key may be a secret seed).
#pragma once
#include <cstdint>

namespace autorep {

// Bytes in the order of FIPS-197, 16 a round.
struct alignas(16) RoundKeys {
  uint8_t bytes[176];
};

RoundKeys expand_key(const uint8_t key[16]);

}  // namespace autorep
