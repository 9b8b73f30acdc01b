#include "ring/weight.h"

#include "cpu/kernels.h"
#include "ring/fir_weight.h"

namespace autorep {
namespace {

// Whether every weight survives the narrow type; all are looked at, whatever the first ones were.
template <class T, class W, class Index>
bool pack_panels(const T* weight, const PackedWeight& p, Index index, W* to) {
  const int64_t k = p.shape.k();
  T lost = 0;
  for (int64_t oc = 0; oc < p.shape.outputs; ++oc) {
    W* const column = to + index(oc, 0);
    const int64_t step = index(oc, 1) - index(oc, 0);
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

PackedWeight::PackedWeight() = default;
PackedWeight::~PackedWeight() = default;

int64_t PackedWeight::index(int64_t oc, int64_t i) const {
  if (by_rows) return oc * shape.k() + i;
  const int64_t per_group = shape.outputs_per_group(), panels = (per_group + panel - 1) / panel, o = oc % per_group;
  return (oc / per_group * panels + o / panel) * panel * shape.k() + i * panel + o % panel;
}

int64_t PackedWeight::at(int64_t oc, int64_t i) const {
  const int64_t n = index(oc, i);
  if (bytes == 2) return static_cast<const int16_t*>(data)[n];
  if (bytes == 4) return static_cast<const int32_t*>(data)[n];
  return static_cast<const int64_t*>(data)[n];
}

const FirWeight& PackedWeight::fir(int64_t stride) const {
  std::call_once(made_[stride - 1], [&] { fir_[stride - 1] = make_fir(*this, stride); });
  return *fir_[stride - 1];
}

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
  p->memory.reset(new char[static_cast<size_t>(rows * shape.k() * p->bytes) + 64]());
  char* start = p->memory.get();
  start += (64 - reinterpret_cast<uintptr_t>(start) % 64) % 64;
  p->data = start;
  const auto index = [&](int64_t oc, int64_t k) { return p->index(oc, k); };
  bool fits;
  if (ring_bytes == 8) {
    const auto* w = static_cast<const uint64_t*>(weight);
    fits = p->bytes == 2   ? pack_panels(w, *p, index, reinterpret_cast<int16_t*>(start))
           : p->bytes == 4 ? pack_panels(w, *p, index, reinterpret_cast<int32_t*>(start))
                           : pack_panels(w, *p, index, reinterpret_cast<int64_t*>(start));
  } else {
    const auto* w = static_cast<const uint32_t*>(weight);
    fits = p->bytes == 2 ? pack_panels(w, *p, index, reinterpret_cast<int16_t*>(start))
                         : pack_panels(w, *p, index, reinterpret_cast<int32_t*>(start));
  }
  return fits ? std::move(p) : nullptr;
}

}  // namespace autorep
