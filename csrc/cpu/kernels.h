// The table of kernels that one CPU tier provides.
//
// Every entry is a raw-pointer function with int64_t sizes. The caller has checked shapes, types and contiguity, owns all
// memory, and has released Python's lock. No entry allocates on behalf of the caller, throws, or branches or addresses
// memory by secret data.
#pragma once
#include <cstdint>

#include "prg/key_schedule.h"

namespace autorep {

// out[i] = trunc((r2[i] + 2*epsilon[i]*r[i] + (party == 0) * epsilon[i]^2) / 2^frac_bits) + offset[(i / inner) % count]
// in Z_2^64, the quotient signed and rounded towards zero. offset may be null. n >= 0, 0 <= frac_bits < 63.
// out may be epsilon, r or r2.
struct BeaverSquareArgs {
  const uint64_t* epsilon;
  const uint64_t* r;
  const uint64_t* r2;
  const uint64_t* offset;
  uint64_t* out;
  int64_t n, inner, count;
  int frac_bits, party;
};

// out[i] = a[i] op word[offset + i] of the stream (key, purpose), i < n. With `set`, a is null. out may be a.
enum class StreamOp { set, add, sub, exclusive_or };
struct StreamArgs {
  const RoundKeys* key;
  uint64_t purpose, offset;
  StreamOp op;
  const uint64_t* a;
  uint64_t* out;
  int64_t n;
};

struct Kernels {
  const char* tier;
  void (*beaver_square)(const BeaverSquareArgs&, int threads);
  void (*stream)(const StreamArgs&, int threads);
};

}  // namespace autorep
