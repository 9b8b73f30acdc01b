#include "ring/fir_weight.h"

#include <algorithm>

namespace autorep {
namespace {

// As in ring/fir.h.
const FirTaps kTaps[2] = {
    {8, 4, 6, {0, 1, 2, 3, 3, 4, 1, 5}, {0b001, 0b100, 0b101, 0b010, 0b011, 0b111}},
    {5, 2, 4, {0, 1, 2, 3, 3}, {0b001, 0b100, 0b101, 0b010}},
};

FirPlan plan(const FirTaps& taps) {
  FirPlan result;
  for (const int copies : {1, 2, 4}) result.groups.push_back({copies, {}});
  const auto uses = [&](int filter) {
    int count = 0;
    for (int p = 0; p < taps.products; ++p) count += taps.which[p] == filter;
    return count;
  };
  std::vector<FirProduct> of_pair;  // copy: the next one
  for (int a = 0; a < taps.filters; ++a)
    for (int b = 0; b < taps.filters; ++b) {
      const int copies = uses(a) * uses(b), group = copies == 1 ? 0 : copies == 2 ? 1 : 2;
      std::vector<int>& sums = result.groups[static_cast<size_t>(group)].sums;
      of_pair.push_back({group, static_cast<int>(sums.size()), 0});
      int sum = 0;
      for (int ky = 0; ky < int(kFirTaps); ++ky)
        if (taps.sum[a] >> ky & 1) sum |= taps.sum[b] << (int(kFirTaps) * ky);
      sums.push_back(sum);
    }
  for (int i = 0; i < taps.products; ++i)
    for (int j = 0; j < taps.products; ++j) {
      FirProduct& next = of_pair[static_cast<size_t>(taps.which[i] * taps.filters + taps.which[j])];
      result.products.push_back(next);
      ++next.copy;
    }
  return result;
}

// The filters of a group: (filters, outputs, inputs) elements of the ring.
template <class T>
std::unique_ptr<PackedWeight> pack_group(const FirGroup& group, const PackedWeight& w) {
  const int64_t inputs = w.shape.inputs_per_group, taps = kFirTaps * kFirTaps, pairs = w.shape.outputs * inputs;
  std::vector<T> filters(group.sums.size() * static_cast<size_t>(pairs));
  for (int64_t pair = 0; pair < pairs; ++pair) {
    T kernel[kFirTaps * kFirTaps];
    for (int64_t i = 0; i < taps; ++i) kernel[i] = static_cast<T>(w.at(pair / inputs, pair % inputs * taps + i));
    for (size_t f = 0; f < group.sums.size(); ++f) {
      T sum = 0;
      for (int64_t i = 0; i < taps; ++i)
        if (group.sums[f] >> i & 1) sum += kernel[i];
      filters[f * static_cast<size_t>(pairs) + static_cast<size_t>(pair)] = sum;
    }
  }
  const int64_t count = static_cast<int64_t>(group.sums.size());
  const ConvShape shape{count * w.shape.outputs, inputs, 1, 1, count * w.shape.groups};
  // Sums of nine weights, and how wide they are must not depend on the weights.
  return PackedWeight::pack(filters.data(), shape, false, w.ring_bytes, std::min(2 * w.bytes, w.ring_bytes));
}

}  // namespace

const FirTaps& fir_taps(int64_t stride) { return kTaps[stride - 1]; }

const FirPlan& fir_plan(int64_t stride) {
  static const FirPlan plans[2] = {plan(kTaps[0]), plan(kTaps[1])};
  return plans[stride - 1];
}

std::unique_ptr<FirWeight> make_fir(const PackedWeight& w, int64_t stride) {
  auto result = std::make_unique<FirWeight>();
  for (const FirGroup& group : fir_plan(stride).groups)
    result->groups.push_back(w.ring_bytes == 8 ? pack_group<uint64_t>(group, w) : pack_group<uint32_t>(group, w));
  return result;
}

}  // namespace autorep
