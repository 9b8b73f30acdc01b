#include "rlwe/tables.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

namespace autorep {
namespace {

using u128 = unsigned __int128;

constexpr uint32_t kPrimes32[] = {134176769, 134111233, 134012929};
constexpr uint32_t kPrimes64[] = {133857281, 133644289, 133611521, 133513217, 133251073};

uint32_t product(uint64_t a, uint64_t b, uint32_t p) { return uint32_t(a * b % p); }

uint32_t power(uint64_t base, uint64_t exponent, uint32_t p) {
  uint64_t result = 1;
  for (base %= p; exponent; exponent >>= 1, base = base * base % p)
    if (exponent & 1) result = result * base % p;
  return uint32_t(result);
}

uint32_t inverted(uint32_t a, uint32_t p) { return power(a, p - 2, p); }

Factor factor(uint64_t w, uint32_t p) {
  w %= p;
  return {uint32_t(w), uint32_t((w << 32) / p)};
}

// A root of X^degree + 1: a power of the smallest number that gives one.
uint32_t root(uint32_t p, int64_t degree) {
  for (uint64_t g = 2;; ++g) {
    const uint32_t r = power(g, uint64_t(p - 1) / uint64_t(2 * degree), p);
    if (power(r, uint64_t(degree), p) == p - 1) return r;
  }
}

struct Owner {  // what RlwePrime points into
  std::deque<std::vector<uint32_t>> arrays;
  RlweTables tables{};

  // Powers in bit-reversed order, then their quotients.
  const uint32_t* powers(uint32_t base, uint32_t p, int64_t n) {
    auto& a = arrays.emplace_back(size_t(2 * n));
    uint64_t value = 1;
    for (int64_t i = 0; i < n; ++i, value = value * base % p) {
      int64_t reversed = 0;
      for (int64_t bit = 1; bit < n; bit <<= 1) reversed = reversed << 1 | (i & bit ? 1 : 0);
      a[size_t(reversed)] = uint32_t(value);
      a[size_t(n + reversed)] = factor(value, p).shoup;
    }
    return a.data();
  }

  // As the stages of ntt.h come to them: which element a lane holds is followed through the exchanges there.
  const uint32_t* lane_powers(const uint32_t* powers, int64_t n, int64_t lanes, bool backward) {
    std::vector<int64_t> strides;
    std::vector<std::vector<int64_t>> held;  // by stage: elements of the first vector, within the pair
    std::vector<int64_t> x, y;
    for (int64_t l = 0; l < lanes; ++l) x.push_back(l), y.push_back(lanes + l);
    for (int64_t t = lanes / 2; t; t /= 2) {
      for (int64_t l = 0; l < lanes; ++l)
        if (l & t) std::swap(x[size_t(l)], y[size_t(l - t)]);
      strides.push_back(t), held.push_back(x);
    }
    if (backward) {
      std::reverse(strides.begin(), strides.end());
      std::reverse(held.begin(), held.end());
    }
    auto& a = arrays.emplace_back();
    for (int64_t pair = 0; pair < n; pair += 2 * lanes)
      for (size_t s = 0; s < strides.size(); ++s)
        for (const int64_t quotients : {int64_t(0), n})
          for (int64_t l = 0; l < lanes; ++l)
            a.push_back(powers[quotients + n / (2 * strides[s]) + (pair + held[s][size_t(l)]) / (2 * strides[s])]);
    return a.data();
  }

  // What the first stages, which leave `lanes` parts, make of X^(r n / lanes), in each part; by r.
  const uint32_t* lanes_front(const uint32_t* powers, uint32_t p, int64_t lanes) {
    auto& a = arrays.emplace_back();
    for (int64_t r = 0; r < lanes; ++r) {
      std::vector<uint32_t> x(static_cast<size_t>(lanes));
      x[size_t(r)] = 1;
      for (int64_t m = 1, half = lanes / 2; half; m *= 2, half /= 2)
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 2 * i * half; j < (2 * i + 1) * half; ++j) {
            const uint32_t y = product(x[size_t(j + half)], powers[m + i], p);
            x[size_t(j + half)] = (x[size_t(j)] + p - y) % p;
            x[size_t(j)] = (x[size_t(j)] + y) % p;
          }
      a.insert(a.end(), x.begin(), x.end());
      for (const uint32_t value : x) a.push_back(factor(value, p).shoup);
    }
    return a.data();
  }

  const uint32_t* lanes_back(const uint32_t* powers, int64_t n, int64_t lanes) {
    auto& a = arrays.emplace_back(size_t(2 * lanes));  // there is no stage 0
    for (int64_t m = 1; m < n / lanes; m *= 2)
      for (int64_t i = 0; i < m; ++i)
        for (const int64_t quotients : {int64_t(0), n})
          for (int64_t lane = 0; lane < lanes; ++lane) a.push_back(powers[quotients + (lanes + lane) * m + i]);
    return a.data();
  }
};

void build(Owner& owner, int width, int64_t lanes) {
  RlweTables& t = owner.tables;
  const uint32_t* primes = width == 32 ? kPrimes32 : kPrimes64;
  t.width = width, t.degree = width == 32 ? 4096 : 8192, t.limbs = width == 32 ? 3 : 5;
  t.answer_limbs = width == 32 ? 2 : 4;
  uint32_t q[6] = {1};  // their product, 32 bits a word
  u128 answer = 1;
  for (int j = 0; j < t.limbs; ++j) {
    uint64_t carry = 0;
    for (uint32_t& word : q) carry += uint64_t(word) * primes[j], word = uint32_t(carry), carry >>= 32;
    if (j < t.answer_limbs) answer *= primes[j];
  }
  t.answer_high = uint64_t(answer >> 64), t.answer_low = uint64_t(answer);
  for (int low = 0; low < 2; ++low) {
    const int digits = width / 32 + 1 + low;
    for (int i = 0; i < digits; ++i) t.fraction[low][i] = q[digits - i - 1];
  }
  for (int j = 0; j < t.limbs; ++j) {
    RlwePrime& r = t.prime[j];
    const uint32_t p = r.p = primes[j];
    const uint32_t psi = root(p, t.degree);
    r.one = factor(1, p), r.two32 = factor(uint64_t(1) << 32, p);
    r.byte = factor(1 << 8, p), r.byte_and_word = factor(uint64_t(1) << 40, p);
    r.forward = owner.powers(psi, p, t.degree);
    r.inverse = owner.powers(inverted(psi, p), p, t.degree);
    r.forward_lanes = owner.lane_powers(r.forward, t.degree, lanes, false);
    r.inverse_lanes = owner.lane_powers(r.inverse, t.degree, lanes, true);
    r.lanes_front = owner.lanes_front(r.forward, p, lanes);
    r.lanes_back = owner.lanes_back(r.forward, t.degree, lanes);
    uint32_t rest = 1, answer_rest = 1;
    u128 without = 1;
    for (int k = 0; k < t.limbs; ++k) {
      if (k == j) continue;
      rest = product(rest, primes[k], p);
      if (k < t.answer_limbs) answer_rest = product(answer_rest, primes[k], p), without *= primes[k];
    }
    r.rest_high = uint64_t(without >> 64), r.rest_low = uint64_t(without);
    r.crt = factor(inverted(rest, p), p);
    const uint32_t shrink = inverted(uint32_t(t.degree), p);
    const uint32_t scales[kScales] = {1, r.crt.w, inverted(answer_rest, p)};
    for (int s = 0; s < kScales; ++s) {
      r.last[s] = factor(product(shrink, scales[s], p), p);
      r.last_root[s] = factor(product(r.last[s].w, r.inverse[1], p), p);
    }
    const u128 most = ~u128(0);  // p is odd: floor((2^128 - 1) / p) is floor(2^128 / p)
    const u128 torus = most / p;
    r.torus_high = uint64_t(torus >> 64), r.torus_low = uint64_t(torus);
    r.torus_part = (uint64_t(most % p + 1) << 32) / p;
    r.whole = uint64_t(torus >> 64), r.part = uint64_t(torus) >> 32;
    for (int low = 0; low < 2; ++low) {
      const int digits = width / 32 + 1 + low;
      for (int i = 0; i < digits; ++i) {
        uint64_t value = 0;
        for (int word = 5; word >= digits - i; --word) value = ((value << 32) + q[word]) % p;
        r.digit[low][i] = factor(value, p);
      }
    }
  }
}

}  // namespace

const RlweTables& rlwe_tables(int width, int64_t lanes) {
  static std::mutex mutex;
  static std::map<std::pair<int, int64_t>, Owner> all;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [at, fresh] = all.try_emplace({width, lanes});
  if (fresh) build(at->second, width, lanes);
  return at->second.tables;
}

}  // namespace autorep
