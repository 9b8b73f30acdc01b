#include <memory>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"
#include "prg/key_schedule.h"

namespace autorep {
namespace {

using Shape = std::vector<py::ssize_t>;
constexpr int64_t kMostPolynomials = int64_t(1) << 24;

const RlweTables& tables_of(int width) { return rlwe_tables(width, kernels().rlwe_lanes); }

const RlweTables& tables_of(Whole& width) {
  need_range(width, "width", 32, 64);
  if (width != 32 && width != 64) bad_value("width", "expected 32 or 64, got " + std::to_string(width.value));
  return tables_of(static_cast<int>(width));
}

// Working memory of each thread, aligned to 64.
class ThreadScratch {
 public:
  ThreadScratch(int threads, int64_t bytes) : memory_(new char[static_cast<size_t>(threads * bytes + 64)]) {}
  char* get() { return memory_.get() + (64 - reinterpret_cast<uintptr_t>(memory_.get()) % 64) % 64; }

 private:
  std::unique_ptr<char[]> memory_;
};

// Values at the roots that were made elsewhere: a kernel computes with numbers below the primes alone.
py::array residues_of(const py::object& value, const char* name, const RlweTables& t, const Shape& before) {
  const py::array a = integers(value, name, 4);
  Shape shape = before;
  shape.insert(shape.end(), {t.limbs, t.degree});
  need_shape(a, name, shape);
  const uint32_t* x = data<uint32_t>(a);
  for (int64_t row = 0; row < a.size() / t.degree; ++row) {
    const uint32_t p = t.prime[row % t.limbs].p;
    uint32_t beyond = 0;
    for (int64_t j = 0; j < t.degree; ++j) beyond |= uint32_t(x[row * t.degree + j] >= p);
    if (beyond) bad_value(name, "has a number that is not below its prime, " + std::to_string(p));
  }
  return a;
}

int polynomial_threads(int64_t polynomials) { return threads_for(polynomials, 2); }

py::array sample(const py::bytes& seed, Whole first, Whole polynomials, Whole width, RlweKind kind) {
  const RlweTables& t = tables_of(width);
  const RoundKeys key = expand_key(need_16_bytes(seed, "seed"));
  need_range(first, "first", 0, INT64_MAX / 16);
  need_range(polynomials, "polynomials", 0, kMostPolynomials);
  py::array out = kind == kUniform ? new_array({polynomials, t.limbs, t.degree}, false, 4)
                                   : new_array({polynomials, t.degree}, true, 1);
  const RlweSampleArgs a{&t, &key, out.mutable_data(), static_cast<uint64_t>(first.value), polynomials, kind};
  py::gil_scoped_release release;
  kernels().rlwe_sample(a, polynomial_threads(polynomials));
  return out;
}

py::array forward(const py::object& small_, Whole width) {
  const RlweTables& t = tables_of(width);
  const py::array small = integers(small_, "small", 1);
  if (small.ndim() != 2) bad_value("small", "expected shape (polynomials, degree), got " + shape_text(shape_of(small)));
  need_shape(small, "small", {small.shape(0), t.degree});
  py::array out = new_array({small.shape(0), t.limbs, t.degree}, false, 4);
  const RlweNttArgs a{&t, data<int8_t>(small), mutable_data<uint32_t>(out), small.shape(0), true};
  py::gil_scoped_release release;
  kernels().rlwe_ntt(a, polynomial_threads(a.polynomials));
  return out;
}

py::array inverse(const py::object& values_, Whole width) {
  const RlweTables& t = tables_of(width);
  const py::array probe = integers(values_, "values", 4);
  if (probe.ndim() != 3)
    bad_value("values", "expected shape (polynomials, primes, degree), got " + shape_text(shape_of(probe)));
  const py::array values = residues_of(values_, "values", t, {probe.shape(0)});
  py::array out = new_array(shape_of(values), false, 4);
  memcpy(out.mutable_data(), values.data(), static_cast<size_t>(values.nbytes()));
  const RlweNttArgs a{&t, nullptr, mutable_data<uint32_t>(out), values.shape(0), false};
  py::gil_scoped_release release;
  kernels().rlwe_ntt(a, polynomial_threads(a.polynomials));
  return out;
}

py::array public_key(const py::object& secret_, const py::object& other_, const py::bytes& noise, Whole width) {
  const RlweTables& t = tables_of(width);
  const py::array secret = residues_of(secret_, "secret", t, {}), other = residues_of(other_, "other", t, {});
  const RoundKeys key = expand_key(need_16_bytes(noise, "noise_seed"));
  py::array out = new_array({t.limbs, t.degree}, false, 4);
  const RlwePublicArgs a{&t, &key, data<uint32_t>(secret), data<uint32_t>(other), mutable_data<uint32_t>(out)};
  py::gil_scoped_release release;
  kernels().rlwe_public(a, 1);
  return out;
}

py::tuple encrypt(const py::object& plain_, const py::object& secret_, const py::bytes& public_seed,
                  const py::bytes& noise_seed, Whole first, Whole low_words) {
  const py::array plain = ring_any(plain_, "plain");
  const RlweTables& t = tables_of(static_cast<int>(8 * plain.itemsize()));
  if (plain.ndim() != 2) bad_value("plain", "expected shape (polynomials, degree), got " + shape_text(shape_of(plain)));
  need_shape(plain, "plain", {plain.shape(0), t.degree});
  const py::array secret = residues_of(secret_, "secret", t, {});
  need_range(first, "first", 0, INT64_MAX / 16);
  need_range(low_words, "low_words", 1, 2);
  const RoundKeys shown = expand_key(need_16_bytes(public_seed, "public_seed"));
  const RoundKeys hidden = expand_key(need_16_bytes(noise_seed, "noise_seed"));
  py::array high = new_array(shape_of(plain), false, plain.itemsize());
  py::array low = new_array({plain.shape(0), low_words, t.degree}, false, 4);
  RlweEncryptArgs a{};
  a.tables = &t, a.public_key = &shown, a.noise = &hidden;
  a.secret = data<uint32_t>(secret), a.plain = plain.data(), a.high = high.mutable_data();
  a.low = mutable_data<uint32_t>(low), a.first = static_cast<uint64_t>(first.value);
  a.polynomials = plain.shape(0), a.low_words = static_cast<int>(low_words);
  {
    py::gil_scoped_release release;
    const int threads = polynomial_threads(a.polynomials);
    ThreadScratch scratch(threads, kRlweEncryptBytes);
    a.scratch = scratch.get();
    kernels().rlwe_encrypt(a, threads);
  }
  return py::make_tuple(high, low);
}

py::array decrypt(const py::object& high_, const py::object& low_, const py::object& secret_) {
  const py::array high = ring_any(high_, "high"), low = integers(low_, "low", 1);
  const RlweTables& t = tables_of(static_cast<int>(8 * high.itemsize()));
  if (high.ndim() != 2) bad_value("high", "expected shape (polynomials, degree), got " + shape_text(shape_of(high)));
  need_shape(high, "high", {high.shape(0), t.degree});
  need_shape(low, "low", shape_of(high));
  const py::array secret = residues_of(secret_, "secret", t, {});
  py::array out = new_array(shape_of(high), false, high.itemsize());
  RlweDecryptArgs a{};
  a.tables = &t, a.secret = data<uint32_t>(secret), a.high = high.data(), a.low = data<uint8_t>(low);
  a.out = out.mutable_data(), a.polynomials = high.shape(0);
  py::gil_scoped_release release;
  const int threads = polynomial_threads(a.polynomials);
  ThreadScratch scratch(threads, kRlweEncryptBytes);
  a.scratch = scratch.get();
  kernels().rlwe_decrypt(a, threads);
  return out;
}

// Weights as the server keeps them: as they are, and as many tiles at the roots as its memory allows.
struct Weight {
  int width, value_bytes;
  int64_t groups, outputs, inputs, terms, stored_tiles;
  std::unique_ptr<char[]> values;
  std::vector<int32_t> positions;
  std::unique_ptr<uint32_t[]> stored;
  bool small;

  RlweWeight args(const RlweTables& t) const {
    return {&t, values.get(), positions.data(), groups, outputs, inputs, terms, value_bytes, small};
  }
  int64_t bytes(const RlweTables& t) const { return stored_tiles * kRlweTile * inputs * t.limbs * t.degree * 4; }
};

std::unique_ptr<Weight> weight(const py::object& values_, const py::object& positions_, Whole width, Whole memory) {
  const RlweTables& t = tables_of(width);
  const py::array values = ring_any(values_, "values"), positions = integers(positions_, "positions", 4);
  if (values.ndim() != 4 || values.size() == 0)
    bad_value("values", "expected shape (groups, outputs, inputs, terms), got " + shape_text(shape_of(values)));
  need_shape(positions, "positions", {values.shape(3)});
  need_range(memory, "memory", 0, INT64_MAX);
  auto w = std::make_unique<Weight>();
  w->width = t.width, w->value_bytes = static_cast<int>(values.itemsize());
  w->groups = values.shape(0), w->outputs = values.shape(1), w->inputs = values.shape(2), w->terms = values.shape(3);
  const int32_t* from = data<int32_t>(positions);
  w->positions.assign(from, from + positions.size());
  for (const int32_t position : w->positions) need_range(position, "positions", 0, 2 * t.degree - 1);
  w->values.reset(new char[static_cast<size_t>(values.nbytes())]);
  memcpy(w->values.get(), values.data(), static_cast<size_t>(values.nbytes()));
  std::vector<int64_t> met(static_cast<size_t>(t.degree));
  int64_t most = 0, size = 0;
  for (const int32_t position : w->positions) most = std::max(most, ++met[static_cast<size_t>(position % t.degree)]);
  if (w->value_bytes == 4) {
    const int32_t* value = data<int32_t>(values);
    for (int64_t i = 0; i < values.size(); ++i) size = std::max(size, std::abs(int64_t(value[i])));
  }
  w->small = w->value_bytes == 4 && most * size <= INT32_MAX;
  const int64_t tiles = rlwe_tiles(w->args(t));
  w->stored_tiles = 1;
  w->stored_tiles = std::min<int64_t>(tiles, memory / w->bytes(t));
  if (!w->stored_tiles) return w;
  py::gil_scoped_release release;
  w->stored.reset(new uint32_t[static_cast<size_t>(w->bytes(t) / 4)]);
  const RlweWeightArgs a{w->args(t), w->stored.get(), 0, w->stored_tiles};
  kernels().rlwe_weight(a, polynomial_threads(w->stored_tiles * w->inputs));
  return w;
}

// What respond works in beside what a thread has: ciphertexts at the roots, and sums.
struct Room {
  int64_t ciphertexts, pass_tiles, sums;

  Room(const Weight& w, int64_t samples) {
    const RlweTables& t = tables_of(w.width);
    const int64_t of_tile = rlwe_sums_bytes(t, samples);
    ciphertexts = samples * w.groups * w.inputs * 2 * t.limbs * t.degree * 4;
    pass_tiles = std::min(rlwe_tiles(w.args(t)), std::max<int64_t>(1, kRlweSumsBytes / std::max<int64_t>(1, of_tile)));
    sums = pass_tiles * of_tile;
  }
  int64_t bytes() const { return ciphertexts + sums + 64; }
};

int64_t room_of(const Weight& w, Whole samples) {
  need_range(samples, "samples", 0, kMostPolynomials);
  return Room(w, samples).bytes();
}

py::tuple respond(const py::object& high_, const py::object& low_, const Weight& w, const py::object& public_,
                  const py::bytes& public_seed, const py::bytes& seed, const py::object& room_) {
  const RlweTables& t = tables_of(w.width);
  const py::array high = integers(high_, "high", w.width / 8), low = integers(low_, "low", 4);
  if (high.ndim() != 4)
    bad_value("high", "expected shape (samples, groups, inputs, degree), got " + shape_text(shape_of(high)));
  const int64_t samples = high.shape(0);
  need_shape(high, "high", {samples, w.groups, w.inputs, t.degree});
  if (low.ndim() != 5)
    bad_value("low", "expected shape (samples, groups, inputs, words, degree), got " + shape_text(shape_of(low)));
  need_range(low.shape(3), "low (words)", 1, 2);
  need_shape(low, "low", {samples, w.groups, w.inputs, low.shape(3), t.degree});
  const py::array key = residues_of(public_, "public", t, {2});
  const RoundKeys shown = expand_key(need_16_bytes(public_seed, "public_seed"));
  const RoundKeys hidden = expand_key(need_16_bytes(seed, "seed"));
  const Shape shape{samples, w.groups, w.outputs, t.degree};
  py::array share = new_array(shape, false, w.width / 8), to = new_array(shape, false, w.width / 8);
  py::array to_low = new_array(shape, false, 1);
  RlweExpandArgs expand{};
  expand.tables = &t, expand.public_key = &shown, expand.high = high.data(), expand.low = data<uint32_t>(low);
  expand.samples = samples, expand.groups = w.groups, expand.inputs = w.inputs;
  expand.low_words = static_cast<int>(low.shape(3));
  RlweRespondArgs a{};
  a.weight = w.args(t), a.public_key = data<uint32_t>(key), a.stored = w.stored.get(), a.seed = &hidden;
  a.share = share.mutable_data(), a.high = to.mutable_data(), a.low = mutable_data<uint8_t>(to_low);
  a.samples = samples, a.stored_tiles = w.stored_tiles;
  const Room size(w, samples);
  py::array room = room_.is_none() ? py::array() : in_place(room_, "room", shape_of(integers(room_, "room", 1)), 1);
  need_apart({{room, "room"}}, {{high, "high"}, {low, "low"}, {key, "public"}});
  if (samples) {
    char* given = room.nbytes() < size.bytes() ? nullptr : static_cast<char*>(room.mutable_data());
    py::gil_scoped_release release;
    const int64_t polynomials = samples * w.groups * w.inputs;
    std::unique_ptr<char[]> own(given ? nullptr : new char[static_cast<size_t>(size.bytes())]);
    char* memory = given ? given : own.get();
    memory += (64 - reinterpret_cast<uintptr_t>(memory) % 64) % 64;
    {
      const int threads = polynomial_threads(polynomials);
      ThreadScratch scratch(threads, kRlweEncryptBytes);
      expand.scratch = scratch.get(), expand.out = reinterpret_cast<uint32_t*>(memory);
      kernels().rlwe_expand(expand, threads);
    }
    const int threads = polynomial_threads(size.pass_tiles * t.limbs);
    ThreadScratch scratch(threads, rlwe_respond_bytes(t));
    a.ciphertexts = expand.out, a.scratch = scratch.get(), a.pass_tiles = size.pass_tiles;
    a.sums = reinterpret_cast<uint32_t*>(memory + size.ciphertexts);
    kernels().rlwe_respond(a, threads);
  }
  return py::make_tuple(share, to, to_low);
}

}  // namespace

void bind_rlwe(py::module_& m) {
  py::class_<Weight>(m, "RlweWeight").def_property_readonly("stored_bytes", [](const Weight& w) {
    return w.bytes(tables_of(w.width));
  });
  const auto sampler = [&m](const char* name, RlweKind kind) {
    m.def(name, [kind](const py::bytes& seed, Whole first, Whole polynomials, Whole width) {
      return sample(seed, first, polynomials, width, kind);
    }, py::arg("seed"), py::arg("first"), py::arg("polynomials"), py::arg("width"));
  };
  sampler("rlwe_uniform", kUniform);
  sampler("rlwe_ternary", kTernary);
  sampler("rlwe_noise", kNoise);
  m.def("rlwe_forward", &forward);
  m.def("rlwe_inverse", &inverse);
  m.def("rlwe_public", &public_key);
  m.def("rlwe_encrypt", &encrypt);
  m.def("rlwe_decrypt", &decrypt);
  m.def("rlwe_weight", &weight);
  m.def("rlwe_room", &room_of);
  m.def("rlwe_respond", &respond);
}

}  // namespace autorep
