// Which filters a 3x3 kernel becomes, and where the products of each lie.
#pragma once
#include <memory>
#include <vector>

#include "cpu/kernels.h"
#include "ring/weight.h"

namespace autorep {

// In one dimension: product p takes the filter which[p], a sum of taps (bit k: tap k).
struct FirTaps {
  int products, outputs, filters;
  int which[kFirProducts], sum[kFirProducts];
};
const FirTaps& fir_taps(int64_t stride);

// In two dimensions, filters are pairs, and those that serve equally many products make a group: one, two or four
// copies.
struct FirGroup {
  int copies;
  std::vector<int> sums;  // of each filter: bit 3 ky + kx
};
struct FirProduct {
  int group, filter, copy;
};
struct FirPlan {
  std::vector<FirGroup> groups;
  std::vector<FirProduct> products;  // row by row
};
const FirPlan& fir_plan(int64_t stride);

struct FirWeight {
  // 1x1 kernels: the filters one after the other, each with all outputs.
  std::vector<std::unique_ptr<PackedWeight>> groups;
};
std::unique_ptr<FirWeight> make_fir(const PackedWeight& w, int64_t stride);

}  // namespace autorep
