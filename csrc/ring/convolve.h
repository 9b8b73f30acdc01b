// Linear maps with packed weights, on the kernels of the current tier.
#pragma once
#include <cstdint>

#include "cpu/kernels.h"
#include "ring/weight.h"

namespace autorep {

struct ConvGeometry {
  int64_t batch, height, width;  // of the input
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  int64_t out_h, out_w;
};

// out (batch, outputs, out_h, out_w) = conv(x, w) + add; add may be null, or out. All contiguous.
void convolve(const void* x, const PackedWeight& w, const ConvGeometry& g, const void* add, void* out);

// out (batch, outputs) = x (batch, k) w^T + add; add as above.
void multiply(const void* x, int64_t batch, const PackedWeight& w, const void* add, void* out);

// The tiles of `a` with these weights; fills in what follows from them.
void run_tiles(TileArgs& a, const PackedWeight& w);

// Whether short filters (ring/fir.h) take less time here, and the same convolution with them.
bool fir_pays(const PackedWeight& w, const ConvGeometry& g);
void fir_convolve(const void* x, const PackedWeight& w, const ConvGeometry& g, const void* add, void* out);

}  // namespace autorep
