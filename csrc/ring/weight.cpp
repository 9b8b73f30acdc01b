#include "ring/weight.h"

#include <cstring>

#include "cpu/kernels.h"

namespace autorep {
namespace {

// Whether every weight survives the narrow type; all are looked at, whatever the first ones were.
template <class T, class W>
bool pack_panels(const T* weight, const PackedWeight& p, W* to) {
  const int64_t k = p.shape.k(), per_group = p.shape.outputs_per_group();
  const int64_t panels = (per_group + p.panel - 1) / p.panel;
  T lost = 0;
  for (int64_t oc = 0; oc < p.shape.outputs; ++oc) {
    const int64_t group = oc / per_group, o = oc % per_group;
    W* column = p.by_rows ? to + oc * k : to + (group * panels + o / p.panel) * p.panel * k + o % p.panel;
    const int64_t step = p.by_rows ? 1 : p.panel;
    for (int64_t i = 0; i < k; ++i) {
      const T value = weight[oc * k + i];
      const W narrow = static_cast<W>(value);
      lost |= static_cast<T>(narrow) ^ value;
      column[i * step] = narrow;
    }
  }
  return lost == 0;
}

}  // namespace

std::unique_ptr<PackedWeight> PackedWeight::pack(const void* weight, ConvShape shape, bool is_matrix, int ring_bytes,
                                                 int bytes) {
  auto p = std::make_unique<PackedWeight>();
  p->shape = shape, p->is_matrix = is_matrix, p->ring_bytes = ring_bytes;
  const int64_t per_group = shape.outputs_per_group();
  p->by_rows = !is_matrix && per_group <= 2 && shape.groups > 1;
  p->bytes = p->by_rows ? ring_bytes : bytes;
  p->panel = kPanelBytes / ring_bytes;
  while (p->panel > 64 / ring_bytes && p->panel / 2 >= per_group) p->panel /= 2;
  const int64_t rows = p->by_rows ? shape.outputs : shape.groups * ((per_group + p->panel - 1) / p->panel) * p->panel;
  p->size = rows * shape.k() * p->bytes;
  p->memory.reset(new char[static_cast<size_t>(p->size) + 64]());
  char* start = p->memory.get();
  start += (64 - reinterpret_cast<uintptr_t>(start) % 64) % 64;
  p->data = start;
  bool fits;
  if (ring_bytes == 8) {
    const auto* w = static_cast<const uint64_t*>(weight);
    fits = p->bytes == 2   ? pack_panels(w, *p, reinterpret_cast<int16_t*>(start))
           : p->bytes == 4 ? pack_panels(w, *p, reinterpret_cast<int32_t*>(start))
                           : pack_panels(w, *p, reinterpret_cast<int64_t*>(start));
  } else {
    const auto* w = static_cast<const uint32_t*>(weight);
    fits = p->bytes == 2 ? pack_panels(w, *p, reinterpret_cast<int16_t*>(start))
                         : pack_panels(w, *p, reinterpret_cast<int32_t*>(start));
  }
  return fits ? std::move(p) : nullptr;
}

}  // namespace autorep
