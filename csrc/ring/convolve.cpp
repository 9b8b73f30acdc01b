#include "ring/convolve.h"

#include <cstring>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace autorep {
namespace {

int threads_for_products(int64_t products) { return threads_for(products, 1 << 17); }

thread_local Scratch tile_memory, border_memory;

// The input with its zero border, so that the kernels need no test at the edges.
const char* padded(const char* x, int64_t planes, const ConvGeometry& g, int64_t height, int64_t width, int64_t bytes) {
  char* const start = border_memory.get(planes * height * width * bytes);
  char* to = start;
  const auto zero = [&](int64_t elements) {
    std::memset(to, 0, static_cast<size_t>(elements * bytes));
    to += elements * bytes;
  };
  for (int64_t p = 0; p < planes; ++p) {
    zero(g.padding_h * width);
    for (int64_t y = 0; y < g.height; ++y) {
      zero(g.padding_w);
      std::memcpy(to, x, static_cast<size_t>(g.width * bytes));
      to += g.width * bytes, x += g.width * bytes;
      zero(g.padding_w);
    }
    zero(g.padding_h * width);
  }
  return start;
}

}  // namespace

void run_tiles(TileArgs& a, const PackedWeight& w) {
  const int threads = threads_for_products(a.pixels * w.shape.outputs * w.shape.k());
  a.scratch = tile_memory.get(kTileScratchBytes * threads);
  a.weight = w.data, a.panel = w.panel, a.ring_bytes = w.ring_bytes, a.weight_bytes = w.bytes;
  a.k = w.shape.k(), a.groups = w.shape.groups, a.oc_per_group = w.shape.outputs_per_group();
  kernels().tiles(a, threads);
}

void convolve(const void* x, const PackedWeight& w, const ConvGeometry& g, const void* add, void* out) {
  if (fir_pays(w, g)) return fir_convolve(x, w, g, add, out);
  const ConvShape& s = w.shape;
  const int64_t bytes = w.ring_bytes, channels = s.groups * s.inputs_per_group;
  const int64_t height = g.height + 2 * g.padding_h, width = g.width + 2 * g.padding_w;
  const char* input = static_cast<const char*>(x);
  if (g.padding_h || g.padding_w) input = padded(input, g.batch * channels, g, height, width, bytes);
  if (w.by_rows) {
    RowArgs a{};
    a.input = input, a.weight = w.data, a.add = add, a.out = out, a.ring_bytes = w.ring_bytes;
    a.batch = g.batch, a.groups = s.groups, a.ic_per_group = s.inputs_per_group, a.oc_per_group = s.outputs_per_group();
    a.height = height, a.width = width, a.kernel_h = s.kernel_h, a.kernel_w = s.kernel_w;
    a.stride_h = g.stride_h, a.stride_w = g.stride_w, a.dilation_h = g.dilation_h, a.dilation_w = g.dilation_w;
    a.out_h = g.out_h, a.out_w = g.out_w;
    kernels().rows(a, threads_for_products(g.batch * s.outputs * s.k() * g.out_h * g.out_w));
    return;
  }
  const int64_t plane = height * width * bytes, image = channels * plane, pixels_per_image = g.out_h * g.out_w;
  std::vector<int64_t> k_offset(static_cast<size_t>(s.k())),
      pixel_offset(static_cast<size_t>(g.batch * pixels_per_image));
  auto k = k_offset.begin();
  for (int64_t c = 0; c < s.inputs_per_group; ++c)
    for (int64_t ky = 0; ky < s.kernel_h; ++ky)
      for (int64_t kx = 0; kx < s.kernel_w; ++kx)
        *k++ = c * plane + (ky * g.dilation_h * width + kx * g.dilation_w) * bytes;
  auto p = pixel_offset.begin();
  for (int64_t n = 0; n < g.batch; ++n)
    for (int64_t y = 0; y < g.out_h; ++y)
      for (int64_t i = 0; i < g.out_w; ++i) *p++ = n * image + (y * g.stride_h * width + i * g.stride_w) * bytes;
  TileArgs a{};
  a.input = input, a.add = add, a.out = out;
  a.k_offset = k_offset.data(), a.pixel_offset = pixel_offset.data();
  a.pixels = g.batch * pixels_per_image, a.pixels_per_image = pixels_per_image;
  a.image_stride = s.outputs * pixels_per_image, a.pixel_stride = 1, a.oc_stride = pixels_per_image;
  a.group_offset = s.inputs_per_group * plane;
  run_tiles(a, w);
}

void multiply(const void* x, int64_t batch, const PackedWeight& w, const void* add, void* out) {
  const int64_t k = w.shape.k();
  std::vector<int64_t> k_offset(static_cast<size_t>(k)), pixel_offset(static_cast<size_t>(batch));
  for (int64_t i = 0; i < k; ++i) k_offset[static_cast<size_t>(i)] = i * w.ring_bytes;
  for (int64_t i = 0; i < batch; ++i) pixel_offset[static_cast<size_t>(i)] = i * k * w.ring_bytes;
  TileArgs a{};
  a.input = x, a.add = add, a.out = out;
  a.k_offset = k_offset.data(), a.pixel_offset = pixel_offset.data();
  a.pixels = batch, a.pixels_per_image = batch;
  a.pixel_stride = w.shape.outputs, a.oc_stride = 1;
  run_tiles(a, w);
}

}  // namespace autorep
