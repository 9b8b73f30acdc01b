// Weights of a linear map, packed once for the kernels and reused.
#pragma once
#include <cstdint>
#include <memory>


namespace autorep {

struct ConvShape {
  int64_t outputs, inputs_per_group, kernel_h, kernel_w, groups;

  int64_t k() const { return inputs_per_group * kernel_h * kernel_w; }
  int64_t outputs_per_group() const { return outputs / groups; }
};

// A panel holds `panel` output channels side by side for each k, zero where the group has fewer; groups, then panels, then
// k. With `by_rows` (few outputs a group) the weights stay in their order. Elements take `bytes`, sign-extended on use.
struct PackedWeight {
  ConvShape shape;
  int ring_bytes, bytes;
  bool is_matrix, by_rows;
  int64_t panel;
  std::unique_ptr<char[]> memory;
  const void* data;
  int64_t size;  // in bytes

  // `weight`: outputs x k elements of the ring. Returns null where a weight does not fit into `bytes`, signed.
  static std::unique_ptr<PackedWeight> pack(const void* weight, ConvShape shape, bool is_matrix, int ring_bytes, int bytes);
};

struct ConvGeometry {
  int64_t batch, height, width;  // of the input
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  int64_t out_h, out_w;
};

// out (batch, outputs, out_h, out_w) = conv(x, w) + bias[oc] + add; bias and add may be null. All contiguous.
void convolve(const void* x, const PackedWeight& w, const ConvGeometry& g, const void* bias, const void* add, void* out);

// out (batch, outputs) = x (batch, k) w^T + bias + add.
void multiply(const void* x, int64_t batch, const PackedWeight& w, const void* bias, const void* add, void* out);

}  // namespace autorep
