// The two rings that linear maps are encrypted in, and everything about their primes that is computed once.
//
// For shares of 32 bits: polynomials modulo X^4096 + 1, q the product of three primes. For 64 bits: X^8192 + 1 and five
// primes. All primes are below 2^27 and 1 modulo twice the degree, so that sums of a transform fit 32 bits without a
// reduction on the way (ntt.h), and sums of 1,024 products fit 64. What the sizes rest on is in
// autorep_fx/secure/makers/paired/maps/parameters.py.
#pragma once
#include <cstdint>

namespace autorep {

enum : int64_t { kRlweMostLimbs = 5, kRlweMostDegree = 8192, kRlweMostDigits = 4 };

// A factor modulo a prime, and floor(factor * 2^32 / p) for Shoup's product.
struct Factor {
  uint32_t w, shoup;
};

// What an inverse transform multiplies by, beside 1 / degree.
enum RlweScale { kScaleOne, kScaleCrt, kScaleAnswer, kScales };

struct RlwePrime {
  uint32_t p;
  Factor one, two32;  // 1 and 2^32
  // Powers of a root of X^degree + 1, in bit-reversed order: degree numbers, and degree quotients for Shoup's product.
  const uint32_t *forward, *inverse;
  // The same for the stages within a vector: for each pair of vectors and stage, a vector of powers and one of
  // quotients.
  const uint32_t *forward_lanes, *inverse_lanes;
  // The same where lane i of a vector holds what is in the i-th part of a polynomial (ntt.h, "in lanes"). front: powers
  // r of what X^(degree / lanes) is in each part, by r; back: of the stages behind that, in their order from 1 on.
  const uint32_t *lanes_front, *lanes_back;
  Factor last[kScales], last_root[kScales];    // the last stage of an inverse transform: for sums, for differences
  Factor crt;                                  // 1 / (q / p) modulo p
  uint64_t whole, part;                        // 2^64 / p: floor, and 32 bits of the fraction
  uint64_t torus_high, torus_low, torus_part;  // 2^128 / p: floor, and 32 bits of the fraction
  Factor digit[2][kRlweMostDigits];            // floor(q / 2^(32 (digits - i))), by low words and by i, lowest first
  Factor byte, byte_and_word;                  // 2^8 and 2^40
  uint64_t rest_high, rest_low;                // the answer's modulus without p
};

struct RlweTables {
  int width, limbs, answer_limbs;  // an answer is decrypted modulo the first answer_limbs primes
  int64_t degree;
  RlwePrime prime[kRlweMostLimbs];
  uint32_t fraction[2][kRlweMostDigits];  // of the numbers of `digit`, 32 bits of the fraction
  uint64_t answer_high, answer_low;       // the answer's modulus
};

// width: 32 or 64; lanes: 32-bit numbers in a vector, 1, 8 or 16. Built at the first call, then shared.
const RlweTables& rlwe_tables(int width, int64_t lanes);

}  // namespace autorep
