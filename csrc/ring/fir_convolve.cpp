// 3x3 convolution by short filters: input into phases, and then, some rows of tiles at a time, differences of the
// input, a matrix product for each filter, sums into the output.
#include <algorithm>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "ring/convolve.h"
#include "ring/fir_weight.h"

namespace autorep {
namespace {

// Tiles worked on at a time: enough to hide the reading of the filters, few enough to stay in the nearer caches.
constexpr int64_t kTiles = 32;
// With fewer channels the plain convolution is as quick.
constexpr int64_t kLeastChannels = 32;
constexpr int64_t kLine = 64;

thread_local Scratch phase_memory, product_memory, line_memory;

int64_t tiles_over(int64_t outputs, const FirTaps& taps) { return (outputs + taps.outputs - 1) / taps.outputs; }

// An odd number of cache lines, so that channels do not fall on each other in the cache.
int64_t spread(int64_t elements, int64_t bytes) {
  const int64_t lines = (elements * bytes + kLine - 1) / kLine;
  return (lines | 1) * kLine / bytes;
}

}  // namespace

bool fir_pays(const PackedWeight& w, const ConvGeometry& g) {
  const ConvShape& s = w.shape;
  if (s.kernel_h != kFirTaps || s.kernel_w != kFirTaps || g.dilation_h != 1 || g.dilation_w != 1) return false;
  if (g.stride_h != g.stride_w || g.stride_h > 2) return false;
  if (s.inputs_per_group < kLeastChannels || s.outputs_per_group() < kLeastChannels) return false;
  const FirTaps& taps = fir_taps(g.stride_h);
  return g.batch * tiles_over(g.out_h, taps) * tiles_over(g.out_w, taps) >= kernels().fir_least_tiles;
}

void fir_convolve(const void* x, const PackedWeight& w, const ConvGeometry& g, const void* add, void* out) {
  const ConvShape& s = w.shape;
  const FirTaps& taps = fir_taps(g.stride_h);
  const FirPlan& plan = fir_plan(g.stride_h);
  const FirWeight& fir = w.fir(g.stride_h);
  const int64_t bytes = w.ring_bytes, channels = s.groups * s.inputs_per_group;

  FirArgs a{};
  a.add = add, a.out = out, a.ring_bytes = w.ring_bytes, a.stride = static_cast<int>(g.stride_h);
  a.channels = channels, a.outputs = s.outputs, a.out_h = g.out_h, a.out_w = g.out_w;
  a.tile_rows = tiles_over(g.out_h, taps), a.tile_columns = tiles_over(g.out_w, taps);
  a.input_rows = kFirStep * a.tile_rows + kFirTaps - g.stride_h;
  const int64_t phase = a.tile_columns + 1, all_rows = g.batch * a.tile_rows;
  const int threads = threads_for(g.batch * s.outputs * s.k() * g.out_h * g.out_w, 1 << 17);

  char* const phases = phase_memory.get(g.batch * channels * a.input_rows * kFirStep * phase * bytes);
  a.input = x, a.phases = phases, a.planes = g.batch * channels;
  a.height = g.height, a.width = g.width, a.padding_h = g.padding_h, a.padding_w = g.padding_w;
  a.scratch_bytes = (kFirStep * phase * bytes / kLine + 1) * kLine;
  a.scratch = line_memory.get(a.scratch_bytes * threads);
  kernels().fir_split(a, threads);

  const int64_t chunk = std::min(all_rows, (kTiles + a.tile_columns - 1) / a.tile_columns);
  // A line more after each filter's channels, or their lines would all compete for one set of the cache.
  const int64_t gap = s.groups == 1 ? kLine / bytes : 0;
  std::vector<int64_t> v_channel, v_filter, v_start, m_start;
  int64_t size = 0;
  for (const FirGroup& group : plan.groups) {
    const int64_t filters = static_cast<int64_t>(group.sums.size()), tiles = group.copies * chunk * a.tile_columns;
    v_channel.push_back(spread(tiles, bytes));
    v_filter.push_back(channels * v_channel.back() + gap);
    v_start.push_back(size), size += filters * v_filter.back() * bytes;
    m_start.push_back(size), size += (tiles * filters * s.outputs * bytes + kLine - 1) / kLine * kLine;
  }
  char* const memory = product_memory.get(size);
  std::vector<int64_t> k_offset(static_cast<size_t>(s.inputs_per_group)), pixel_offset;

  for (a.first_row = 0; a.first_row < all_rows; a.first_row += a.rows) {
    a.rows = std::min(chunk, all_rows - a.first_row);
    const int64_t tiles = a.rows * a.tile_columns;
    for (size_t p = 0; p < plan.products.size(); ++p) {
      const FirProduct& product = plan.products[p];
      const size_t group = static_cast<size_t>(product.group);
      const int64_t filters = static_cast<int64_t>(plan.groups[group].sums.size());
      FirPlace& place = a.places[p];
      place.v_channel = v_channel[group], place.m_tile = filters * s.outputs;
      place.v = memory + v_start[group] + (product.filter * v_filter[group] + product.copy * tiles) * bytes;
      place.m = memory + m_start[group] + (product.copy * tiles * place.m_tile + product.filter * s.outputs) * bytes;
    }
    kernels().fir_input(a, threads);
    for (size_t group = 0; group < plan.groups.size(); ++group) {
      const int64_t filters = static_cast<int64_t>(plan.groups[group].sums.size());
      TileArgs t{};
      t.input = memory + v_start[group], t.out = memory + m_start[group];
      t.pixels = t.pixels_per_image = plan.groups[group].copies * tiles;
      for (int64_t c = 0; c < s.inputs_per_group; ++c) k_offset[static_cast<size_t>(c)] = c * v_channel[group] * bytes;
      pixel_offset.resize(static_cast<size_t>(t.pixels));
      for (int64_t i = 0; i < t.pixels; ++i) pixel_offset[static_cast<size_t>(i)] = i * bytes;
      t.k_offset = k_offset.data(), t.pixel_offset = pixel_offset.data();
      t.group_offset = v_filter[group] / s.groups * bytes;
      t.pixel_stride = filters * s.outputs, t.oc_stride = 1;
      run_tiles(t, *fir.groups[group]);
    }
    kernels().fir_output(a, threads);
  }
}

}  // namespace autorep
