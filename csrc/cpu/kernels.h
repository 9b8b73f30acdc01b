// The table of kernels that one CPU tier provides.
//
// Every entry is a raw-pointer function with int64_t sizes. The caller has checked shapes, types and contiguity, owns
// all memory, and has released Python's lock. No entry allocates on behalf of the caller, throws, or branches or
// addresses memory by secret data.
#pragma once
#include <cstdint>

#include "compare/dcf_layout.h"
#include "prg/key_schedule.h"
#include "rlwe/args.h"

namespace autorep {

// out[i] = trunc((r2[i] + 2*epsilon[i]*r[i] + (party == 0) * epsilon[i]^2) / 2^frac_bits) in Z_2^64, the quotient
// signed and rounded towards zero. n >= 0, 0 <= frac_bits < 63. out may be epsilon, r or r2.
struct BeaverSquareArgs {
  const uint64_t* epsilon;
  const uint64_t* r;
  const uint64_t* r2;
  uint64_t* out;
  int64_t n;
  int frac_bits, party;
};

// out[i] = word i of the stream (key, purpose), i < n.
struct StreamArgs {
  const RoundKeys* key;
  uint64_t purpose;
  uint64_t* out;
  int64_t n;
};

// See ring/tiles.h. Offsets are in bytes, strides in elements. A panel is at most kPanelBytes of ring elements wide.
enum : int64_t { kPanelBytes = 256, kPanelSliceBytes = 32 << 10, kTileScratchBytes = 64 << 10 };
struct TileArgs {
  const void *input, *weight, *add;
  void *out, *scratch;  // scratch: kTileScratchBytes a thread, aligned to 64
  const int64_t *k_offset, *pixel_offset;
  int64_t k, pixels, pixels_per_image, groups, oc_per_group, panel;
  int64_t group_offset, image_stride, pixel_stride, oc_stride;
  int ring_bytes, weight_bytes;
};

// See ring/fir.h and ring/fir_convolve.cpp. The phases of the padded input are planes, input_rows, kFirStep phases, and
// tile_columns + 1 samples; tile t of a row begins at sample t of each phase. Of all rows of tiles, image by image,
// `rows` are worked on, from first_row. places: one for each product, row by row.
enum : int64_t { kFirStep = 4, kFirTaps = 3, kFirProducts = 8 };
struct FirPlace {
  void *v, *m;                // of tile 0: an input to a product (channel after channel), and what the product gave
  int64_t v_channel, m_tile;  // elements from channel to channel, from tile to tile
};
struct FirArgs {
  const void *input, *add;
  void *phases, *out, *scratch;  // scratch: scratch_bytes a thread, a row of all phases, aligned to 64
  FirPlace places[kFirProducts * kFirProducts];
  int64_t scratch_bytes, planes, channels, outputs, height, width, padding_h, padding_w, out_h, out_w;
  int64_t input_rows, tile_rows, tile_columns, first_row, rows;
  int ring_bytes, stride;
};

// See ring/rows.h. The input has its border already; weights in their own order, as wide as the ring.
struct RowArgs {
  const void *input, *weight, *add;
  void* out;
  int64_t batch, groups, ic_per_group, oc_per_group, height, width, kernel_h, kernel_w;
  int64_t stride_h, stride_w, dilation_h, dilation_w, out_h, out_w;
  int ring_bytes;
};

// See compare/dcf.h. blocks is the key after its header; roots are n x 2 words, payload is n x payloads numbers of the
// layout's width.
struct DcfGenArgs {
  const DcfLayout* layout;
  const RoundKeys* key;
  const uint64_t *alpha, *roots[2];
  const void* payload;
  uint64_t* blocks;
  int64_t n, last_block;
};

// Element i of x and roots is element `first` + i of the key; first is a multiple of 128. out is n x payloads.
struct DcfEvalArgs {
  const DcfLayout* layout;
  const RoundKeys* key;
  const uint64_t *blocks, *roots, *x;
  void* out;
  int64_t n, first, last_block;
  int party;
};

// See ring/activation.h. Arrays are batch x positions; linear is one byte (0 or 1) a position; relu is batch x kept,
// keep increasing positions. alpha with beta, and alpha2 with ab, may be null; so may linear and sub. out may be m
// where both are as wide. m has m_bytes, all that is shared and out out_bytes; beta and ab as well, or half as many
// where both are as wide and shift is at most half of their bits: their high halves. 0 <= shift <= the wire's bits - 2.
struct ActivationArgs {
  const void *m, *alpha, *beta, *alpha2, *ab, *relu, *sub;
  const uint8_t* linear;
  const int64_t* keep;
  void* out;
  int64_t batch, positions, kept;
  int shift, align, party, m_bytes, out_bytes, beta_bytes;
};

// alpha, beta, alpha^2 and ab of ring/activation.h, minus what the arrays hold; widths as there.
struct DealPowersArgs {
  const void* r;
  void *alpha, *beta, *alpha2, *ab;
  int64_t n;
  int shift, r_bytes, share_bytes, beta_bytes;
};

// See compare/relu.h. keep may be null (all positions).
struct WindowArgs {
  const void* v;
  const int64_t* keep;
  uint64_t* out;
  int64_t batch, positions, kept;
  int shift, bits, v_bytes;
};

struct DealReluArgs {
  const uint64_t* window;
  uint64_t* alpha;
  void *payload, *shares;  // n x 3, of share_bytes each
  int64_t n;
  int bits, share_bytes;
};

// eval.x holds windows, one bit wider than the key; eval.out one number an element, as wide as the key's.
struct ReluArgs {
  DcfEvalArgs eval;
  const void* shares;  // n x 3
};

// See compare/relu.h. As ReluArgs, of a key of six payloads; tags: n x 3; value: n numbers of value_bytes, as shares
// are; tag: n. key: party 0's, of the tags.
struct ReluCheckedArgs {
  DcfEvalArgs eval;
  const void* shares;
  const uint64_t* tags;
  void* value;
  uint64_t* tag;
  uint64_t key;
  int value_bytes;
};

// See prg/weigh.h. sums[row] = the sum of word i of the stream times values[row, i], i < n.
struct WeighArgs {
  const RoundKeys* key;
  const uint64_t* values;
  uint64_t* sums;
  uint64_t purpose;
  int64_t rows, n;
};

// See prg/weigh.h. out[i] = factor values[i] + word i of the stream.
struct TagArgs {
  const RoundKeys* key;
  const uint64_t* values;
  uint64_t* out;
  uint64_t purpose, factor;
  int64_t n;
};

// See compare/planes.h. planes is bits x ceil(n / 64); values have value_bytes, 4 or 8.
struct PackArgs {
  const void* values;
  uint64_t* planes;
  int64_t n;
  int shift, bits, value_bytes;
};
struct UnpackArgs {
  const uint64_t* planes;
  uint64_t* values;
  int64_t n;
  int bits;
};

// See compare/carry.h. g, p: nodes x words; outputs: ceil(nodes / 2) x words. carry_open uses neither received nor c.
struct CarryArgs {
  const uint64_t *g, *p, *a, *b, *c, *received;
  uint64_t *message, *g_out, *p_out;
  int64_t nodes, words;
  int party;
};
struct BorrowArgs {
  const uint64_t *m, *r;
  uint64_t *g, *p;
  int64_t n;
  int party;
};
struct DealAndArgs {
  const uint64_t *a0, *a1, *b0, *b1;
  uint64_t* c;
  int64_t a_rows, b_rows, words;
};

// See compare/select.h. v: ceil(n / 64) words of bits; widths as in ActivationArgs, ub like beta.
struct SelectArgs {
  const void* m;
  const uint64_t* v;
  const void *u, *ua, *ub, *alpha, *beta;
  void* out;
  int64_t n;
  int shift, party, m_bytes, out_bytes, beta_bytes;
};
struct DealSelectArgs {
  const void* r;
  const uint64_t* bits;
  void *u, *ua, *ub;
  int64_t n;
  int shift, r_bytes, share_bytes, beta_bytes;
};

// See compare/spline.h. v: ceil(n / 64) words; cells: 2 x n words; places: of each knot, 0 to 63; planes: knots x
// ceil(n / 64). 0 <= shift <= the wire's bits - 6.
struct CellBitsArgs {
  const void* m;
  const uint64_t *v, *cells, *places;
  uint64_t* planes;
  int64_t n, knots;
  int shift, m_bytes;
};

// v: knots x ceil(n / 64); u: knots x n; a: rows - 1 x n; base: rows; rises: rows x knots; out: rows x n. Two or three
// rows; u, a and out have out_bytes a number.
struct SplineSumsArgs {
  const uint64_t *v, *base, *rises;
  const void *u, *a;
  void* out;
  int64_t n, knots;
  int rows, party, out_bytes;
};

// sums: rows x n; theirs, a, a_alpha, a_beta: rows - 1 x n; all else n, out_bytes a number. Two rows where alpha2, ab,
// a_alpha2 and a_ab are null, else three. sub may be null.
struct SplineCloseArgs {
  const void *m, *sums, *theirs, *a, *alpha, *beta, *alpha2, *ab, *a_alpha, *a_beta, *a_alpha2, *a_ab, *sub;
  void* out;
  int64_t n;
  int shift, m_bytes, out_bytes;
};

// See ot/hash.h and ot/strings.h. n is a multiple of 64; blocks are n x 2 words, delta 2 (or null where it says so), a
// plane n bits. values and share have 4 bytes a number where bits <= 32, else 8; message n bits / 64 words.
struct OtBitsArgs {
  const RoundKeys* key;
  const uint64_t *blocks, *delta;  // delta may be null
  uint64_t* planes;                // bits x n / 64
  int64_t n;
  uint64_t index, domain;
  int bits;
};
struct OtSendArgs {
  const RoundKeys* key;
  const uint64_t *q, *delta;
  const void* values;
  void* share;
  uint64_t* message;
  int64_t n;
  uint64_t index, domain;
  int bits;
};
struct OtReceiveArgs {
  const RoundKeys* key;
  const uint64_t *t, *choices, *message;
  void* share;
  int64_t n;
  uint64_t index, domain;
  int bits;
};
struct OtFlipArgs {
  uint64_t* q;
  const uint64_t *delta, *plane;
  int64_t n;
};

// See ot/vole.h and ot/layout.h. leaves: 128 / k trees of 2^k. The receiver has no delta, and writes choices (words)
// and message (128 / k - 1 rows); the sender reads the message. rows: 128 rows, or their columns' blocks.
struct VoleArgs {
  const RoundKeys* leaves;
  const uint64_t* delta;
  uint64_t *rows, *choices, *message;
  uint64_t purpose;
  int64_t words;
  int k;
  bool transposed;
  const uint64_t* coefficients;
  uint64_t* tags;
};

// See ot/fold.h. rows become blocks. coefficients: 2 x words; choices: words, or null; tags: 129 x 2 words.
struct FoldArgs {
  uint64_t *rows, *tags;
  const uint64_t *choices, *coefficients;
  int64_t words;
};

// See ot/trees.h. sums: trees x depth x 2 words; leaves: trees x 2^depth x 2. Full trees, from roots and delta, write
// their sums; those that lack a leaf, whose numbers are secret, read them, and have neither.
struct TreesArgs {
  const RoundKeys* key;
  const uint64_t *roots, *delta, *missing;
  uint64_t *sums, *leaves;
  int64_t trees;
  int depth;
};

// See ot/lpn.h. Row `first` + i of the matrix times the vector, of `size` blocks, is added to block i; first and n are
// multiples of 64.
struct LpnArgs {
  const RoundKeys* key;
  const uint64_t* vector;
  uint64_t* blocks;
  int64_t size, first, n;
};

// n is a multiple of 64; tags: 2 x 2 words.
struct BlockFoldArgs {
  const RoundKeys* key;
  const uint64_t* blocks;
  uint64_t* tags;
  int64_t first, n;
};

// Every kernel, once: the table below and each tier's copy of it (cpu/tier.h) are made from this list.
#define AR_KERNELS(X) \
  X(beaver_square, BeaverSquareArgs) \
  X(stream, StreamArgs) \
  X(tiles, TileArgs) \
  X(fir_split, FirArgs) \
  X(fir_input, FirArgs) \
  X(fir_output, FirArgs) \
  X(rows, RowArgs) \
  X(gen_dcf, DcfGenArgs) \
  X(eval_dcf, DcfEvalArgs) \
  X(activation_step, ActivationArgs) \
  X(deal_powers, DealPowersArgs) \
  X(window, WindowArgs) \
  X(deal_relu, DealReluArgs) \
  X(relu_fss, ReluArgs) \
  X(relu_checked, ReluCheckedArgs) \
  X(weigh, WeighArgs) \
  X(tag_words, TagArgs) \
  X(pack_bits, PackArgs) \
  X(unpack_bits, UnpackArgs) \
  X(borrow_bits, BorrowArgs) \
  X(carry_open, CarryArgs) \
  X(carry_close, CarryArgs) \
  X(deal_and, DealAndArgs) \
  X(select, SelectArgs) \
  X(deal_select, DealSelectArgs) \
  X(cell_bits, CellBitsArgs) \
  X(spline_sums, SplineSumsArgs) \
  X(spline_close, SplineCloseArgs) \
  X(rlwe_sample, RlweSampleArgs) \
  X(rlwe_ntt, RlweNttArgs) \
  X(rlwe_public, RlwePublicArgs) \
  X(rlwe_encrypt, RlweEncryptArgs) \
  X(rlwe_decrypt, RlweDecryptArgs) \
  X(rlwe_expand, RlweExpandArgs) \
  X(rlwe_weight, RlweWeightArgs) \
  X(rlwe_respond, RlweRespondArgs) \
  X(ot_bits, OtBitsArgs) \
  X(ot_send, OtSendArgs) \
  X(ot_receive, OtReceiveArgs) \
  X(ot_flip, OtFlipArgs) \
  X(vole, VoleArgs) \
  X(vole_fold, FoldArgs) \
  X(trees, TreesArgs) \
  X(lpn, LpnArgs) \
  X(block_fold, BlockFoldArgs)

struct Kernels {
  const char* tier;
  int64_t fir_least_tiles;  // that must share the reading of the filters, so that short filters pay
  int64_t rlwe_lanes;       // see rlwe/tables.h
#define AR_ENTRY(name, args) void (*name)(const args&, int threads);
  AR_KERNELS(AR_ENTRY)
#undef AR_ENTRY
};

}  // namespace autorep
