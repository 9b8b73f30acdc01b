// Weights of a linear map, packed once for the kernels and reused.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>

namespace autorep {

struct FirWeight;

struct ConvShape {
  int64_t outputs, inputs_per_group, kernel_h, kernel_w, groups;

  int64_t k() const { return inputs_per_group * kernel_h * kernel_w; }
  int64_t outputs_per_group() const { return outputs / groups; }
};

// A panel holds `panel` output channels side by side for each k, zero where the group has fewer; groups, then panels,
// then k. With `by_rows` (few outputs a group) the weights stay in their order. Elements take `bytes`, sign-extended on
// use.
struct PackedWeight {
  PackedWeight();
  ~PackedWeight();

  ConvShape shape;
  int ring_bytes, bytes;
  bool is_matrix, by_rows;
  int64_t panel;
  std::unique_ptr<char[]> memory;
  const void* data;

  // Weight k of an output, sign-extended.
  int64_t at(int64_t oc, int64_t k) const;

  // The filters of ring/fir.h, made when they are first asked for.
  const FirWeight& fir(int64_t stride) const;

  // `weight`: outputs x k elements of the ring. Returns null where a weight does not fit into `bytes`, signed.
  static std::unique_ptr<PackedWeight> pack(const void* weight, ConvShape shape, bool is_matrix, int ring_bytes,
                                            int bytes);

 private:
  int64_t index(int64_t oc, int64_t k) const;

  mutable std::once_flag made_[2];
  mutable std::unique_ptr<FirWeight> fir_[2];  // by stride
};

}  // namespace autorep
