// Counter-mode streams: word w of stream (seed, purpose) is word w % 2 of AES_seed(counter = w / 2, purpose).
#pragma once
#include "cpu/kernels.h"
#include "prg/aes.h"

namespace autorep {
namespace AR_TIER {

// Writes `groups` * kAesBlocks blocks, from block number `block` on.
static void stream_blocks(const RoundKeys& rk, uint64_t purpose, uint64_t block, int64_t groups, uint64_t* out) {
  uint64_t first[2 * kAesBlocks], stride[2 * kBlocksPerVector];
  for (int b = 0; b < kAesBlocks; ++b) first[2 * b] = block + uint64_t(b), first[2 * b + 1] = purpose;
  for (int b = 0; b < kBlocksPerVector; ++b) stride[2 * b] = kAesBlocks, stride[2 * b + 1] = 0;
  Blocks counter[kAesVectors];
  memcpy(counter, first, sizeof counter);
  const Blocks step = load<Blocks>(stride);
  for (int64_t g = 0; g < groups; ++g) {
    Blocks x[kAesVectors];
    aes<false>(rk, counter, x);
    memcpy(out + g * kAesBlocks * 2, x, sizeof x);
#pragma GCC unroll 8
    for (int i = 0; i < kAesVectors; ++i) counter[i] += step;
  }
}

static void stream(const StreamArgs& args, int threads) {
  enum { kWords = 512 };  // a chunk: stays in the first-level cache, and a multiple of every tier's group
  static_assert(kWords % (2 * kAesBlocks) == 0, "chunks are whole groups");
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < (args.n + kWords - 1) / kWords; ++c) {
    alignas(64) uint64_t words[kWords];
    const int64_t start = c * kWords, have = min64(kWords, args.n - start);
    const int64_t group = 2 * kAesBlocks;
    stream_blocks(*args.key, args.purpose, uint64_t(start / 2), (have + group - 1) / group, words);
    memcpy(args.out + start, words, size_t(have) * 8);
  }
}

}  // namespace AR_TIER
}  // namespace autorep
