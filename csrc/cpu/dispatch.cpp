#include "cpu/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#ifdef AUTOREP_FX_X86
#include <cpuid.h>
#endif

namespace autorep {

const Kernels* portable_kernels();
#ifdef AUTOREP_FX_X86
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
#endif

namespace {

struct Tier {
  const char* name;
  bool supported;
  const Kernels* (*get)();
};

#ifdef AUTOREP_FX_X86
struct Features {
  bool avx2 = false, avx512 = false;

  Features() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    const bool osxsave = c >> 27 & 1, aes = (c >> 25 & 1) && (c >> 1 & 1);  // AES-NI, PCLMULQDQ
    if (!osxsave) return;
    // What the CPU has is not enough: the system must also save these registers on a switch.
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    const bool ymm = (lo & 0x06) == 0x06, zmm = (lo & 0xe6) == 0xe6;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx2 = ymm && aes && (b >> 5 & 1) && (b >> 8 & 1);                                        // AVX2, BMI2
    avx512 = avx2 && zmm && (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1)  // F, DQ, BW, VL
             && (c >> 9 & 1) && (c >> 10 & 1);                                                // VAES, VPCLMULQDQ
  }
};
#endif

const std::vector<Tier>& tiers() {
  static const std::vector<Tier> all = [] {
    std::vector<Tier> t{{"portable", true, portable_kernels}};
#ifdef AUTOREP_FX_X86
    const Features f;
    t.push_back({"avx2", f.avx2, avx2_kernels});
    t.push_back({"avx512", f.avx512, avx512_kernels});
#endif
    return t;
  }();
  return all;
}

const Kernels* find(const std::string& name, const char* source) {
  for (const Tier& t : tiers())
    if (name == t.name && t.supported) return t.get();
  std::string have;
  for (const std::string& t : available_tiers()) have += (have.empty() ? "" : ", ") + t;
  throw std::invalid_argument(std::string(source) + ": CPU tier '" + name +
                              "' is not available here; available: " + have);
}

std::atomic<const Kernels*> current{nullptr};

}  // namespace

std::vector<std::string> available_tiers() {
  std::vector<std::string> names;
  for (const Tier& t : tiers())
    if (t.supported) names.push_back(t.name);
  return names;
}

const Kernels& kernels() {
  const Kernels* k = current.load(std::memory_order_acquire);
  if (!k) {
    const char* forced = std::getenv("AUTOREP_FX_CPU");
    k = forced && *forced ? find(forced, "AUTOREP_FX_CPU") : find(available_tiers().back(), "tier");
    current.store(k, std::memory_order_release);
  }
  return *k;
}

void set_tier(const std::string& name) { current.store(find(name, "tier"), std::memory_order_release); }

}  // namespace autorep
