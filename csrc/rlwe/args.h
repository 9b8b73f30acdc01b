// What the kernels of encrypted linear maps are called with; see cpu/kernels.h for the caller's duties.
//
// n is tables->degree, L tables->limbs. "Residues" are L x n numbers of 32 bits, those modulo a prime below it, and are
// values at the roots where not said otherwise. Ring elements have tables->width bits.
#pragma once
#include <cstdint>

#include "prg/key_schedule.h"
#include "rlwe/tables.h"

namespace autorep {

// Polynomial i is of the streams that begin with `first` + i: L each of uniform residues, else one.
enum RlweKind { kUniform, kTernary, kNoise };
struct RlweSampleArgs {
  const RlweTables* tables;
  const RoundKeys* key;
  void* out;  // uniform: polynomials x L x n of 32 bits; else polynomials x n of 8
  uint64_t first;
  int64_t polynomials;
  RlweKind kind;
};

// forward: small (polynomials x n) to residues; else residues in place, to coefficients below their primes.
struct RlweNttArgs {
  const RlweTables* tables;
  const int8_t* small;
  uint32_t* residues;
  int64_t polynomials;
  bool forward;
};

// residues = noise - other secret.
struct RlwePublicArgs {
  const RlweTables* tables;
  const RoundKeys* noise;
  const uint32_t *secret, *other;
  uint32_t* out;
};

// Polynomial i of plain, high and low: n ring elements, n ring elements, and low_words x n words, the highest first.
// public_key and noise are streams that begin with `first` + i. scratch: kRlweEncryptBytes a thread.
enum : int64_t { kRlweEncryptBytes = kRlweMostDegree * (4 * kRlweMostLimbs + 1) };
struct RlweEncryptArgs {
  const RlweTables* tables;
  const RoundKeys *public_key, *noise;
  const uint32_t* secret;
  const void* plain;
  void* high;
  uint32_t* low;
  char* scratch;
  uint64_t first;
  int64_t polynomials;
  int low_words;
};

// See rlwe/decrypt.h. scratch: kRlweEncryptBytes a thread.
struct RlweDecryptArgs {
  const RlweTables* tables;
  const uint32_t* secret;
  const void* high;
  const uint8_t* low;
  void* out;
  char* scratch;
  int64_t polynomials;
};

// How what the server multiplies lies in memory, so that it is read in the order of its use: inputs in chunks of at
// most kRlweChunk, numbers by the run (of vectors in lanes, ntt.h), outputs in tiles of kRlweTile. Of one chunk and
// prime,
//   ciphertexts: run, input, c0 and c1, number;    weights: run, input, output, number.
// A tile's weights of a prime are made once for kRlweSamples samples, and their sums are run, output, c0 and c1,
// number.
enum : int64_t { kRlweChunk = 16, kRlweTile = 8, kRlweSamples = 32, kRlweSumsBytes = int64_t(1) << 26 };

// samples x groups x inputs ciphertexts, as they were sent, to out: samples x groups x chunks x L x (a chunk's, above).
struct RlweExpandArgs {
  const RlweTables* tables;
  const RoundKeys* public_key;
  const void* high;
  const uint32_t* low;
  uint32_t* out;
  char* scratch;  // kRlweEncryptBytes a thread
  int64_t samples, groups, inputs;
  int low_words;
};

// values: groups x outputs x inputs x terms, signed, of value_bytes each: coefficients of X^position, where a position
// of n or more stands for -X^(position - n). small: values and all their sums at one coefficient are numbers of 32
// bits.
struct RlweWeight {
  const RlweTables* tables;
  const void* values;
  const int32_t* positions;
  int64_t groups, outputs, inputs, terms;
  int value_bytes;
  bool small;
};

// Tiles first_tile and on, of all groups, to out: tiles x chunks x L x (a chunk's, above).
struct RlweWeightArgs {
  RlweWeight weight;
  uint32_t* out;
  int64_t first_tile, tiles;
};

// share, high (ring elements) and low (bytes): samples x groups x outputs x n. stored: the first stored_tiles tiles of
// the weight. public_key: 2 x L x n. scratch: rlwe_respond_bytes(tables) a thread. sums: pass_tiles times
// rlwe_sums_bytes(tables, samples), for so many tiles at once.
struct RlweRespondArgs {
  RlweWeight weight;
  const uint32_t *ciphertexts, *public_key, *stored;
  const RoundKeys* seed;
  void *share, *high;
  uint8_t* low;
  char* scratch;
  uint32_t* sums;
  int64_t samples, stored_tiles, pass_tiles;
};

inline int64_t rlwe_tiles(const RlweWeight& w) { return w.groups * ((w.outputs + kRlweTile - 1) / kRlweTile); }

inline int64_t rlwe_respond_bytes(const RlweTables& t) {
  return (kRlweChunk * kRlweTile + 2 * t.limbs + 1) * t.degree * 4 + 2 * t.degree;
}

// Of a tile.
inline int64_t rlwe_sums_bytes(const RlweTables& t, int64_t samples) {
  return (samples < kRlweSamples ? samples : kRlweSamples) * kRlweTile * 2 * t.limbs * t.degree * 4;
}

}  // namespace autorep
