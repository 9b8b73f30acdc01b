// Where things are in a batch of comparison keys. The same for every tier.
//
//   header (8 words)   format, input bits, payloads, number of elements, words in all, AES key of the hash (2 words),
//                      bytes of a payload (4 or 8)
//   block 0, block 1, ...   16 elements each, the last one padded
//
// A block, all numbers native words, 16 elements side by side in every row:
//   control bits       left and right, in a row of words each, or, up to 32 input bits, in the halves of one (left is
//                      the low one); bit i belongs to input bit i, so that a party picks by its x with two ANDs for
//                      all levels at once
//   one level for each input bit from the top, except the last leaf_bits:
//     seed correction  16 x 2 words
//     value correction 16 x 2 payloads for each pair (0 and 1, 2 and 3, ...), then 16 x 1 payload if payloads is odd
//   2^leaf_bits leaves: value corrections as above, one for each value of the last input bits
//
// Two levels are folded into the leaves: the four corrections are about as long as two levels and one leaf, and a party
// makes one set of values instead of three. An evaluation reads each block once, from front to back.
#pragma once
#include <cstdint>

namespace autorep {

enum : int64_t { kDcfBlock = 16, kDcfHeaderWords = 8 };
enum : int64_t { kDcfHashKeyWord = 5, kDcfPayloadWord = 7 };  // of the header
enum : uint64_t { kDcfFormat = 0x3430666364786661 };          // "afxdcf04"

// Plain numbers: the tiers read them and call nothing.
struct DcfLayout {
  int bits, payloads, word_bytes, leaf_bits, levels;
  int64_t control_words, value_words, level_words, block_words;
};

// word_bytes: of a payload, 4 (a number modulo 2^32) or 8.
DcfLayout dcf_layout(int bits, int payloads, int word_bytes);
int64_t dcf_words(const DcfLayout& layout, int64_t n);

}  // namespace autorep
