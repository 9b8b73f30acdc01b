#include "compare/dcf_layout.h"

namespace autorep {

DcfLayout dcf_layout(int bits, int payloads, int word_bytes) {
  DcfLayout l{};
  l.bits = bits, l.payloads = payloads, l.word_bytes = word_bytes;
  l.leaf_bits = bits < 2 ? bits : 2;
  l.levels = bits - l.leaf_bits;
  l.value_words = kDcfBlock * payloads * word_bytes / 8;
  l.level_words = 2 * kDcfBlock + l.value_words;
  l.control_words = bits <= 32 ? kDcfBlock : 2 * kDcfBlock;
  l.block_words = l.control_words + l.levels * l.level_words + (int64_t(1) << l.leaf_bits) * l.value_words;
  return l;
}

int64_t dcf_words(const DcfLayout& l, int64_t n) {
  return kDcfHeaderWords + (n + kDcfBlock - 1) / kDcfBlock * l.block_words;
}

}  // namespace autorep
