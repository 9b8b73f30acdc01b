#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"
#include "prg/key_schedule.h"

namespace autorep {
namespace {

int ot_threads(int64_t n) { return threads_for(n, 1 << 12); }

void need_whole_words(int64_t n, const char* name) {
  if (n % 64) bad_value(name, "expected a multiple of 64 oblivious transfers, got " + std::to_string(n));
}

// (n, 2) words.
py::array blocks_of(const py::object& value, const char* name) {
  const py::array a = ring64(value, name);
  if (a.ndim() != 2 || a.shape(1) != 2) bad_value(name, "expected shape (n, 2), got " + shape_text(shape_of(a)));
  need_whole_words(a.shape(0), name);
  return a;
}

py::array exactly(const py::object& value, const char* name, const std::vector<py::ssize_t>& shape) {
  const py::array a = ring64(value, name);
  need_shape(a, name, shape);
  return a;
}

py::array ot_bits(const py::object& blocks_, const py::bytes& key_, Whole index, Whole domain, const py::object& delta_,
                  Whole bits) {
  const py::array blocks = blocks_of(blocks_, "blocks");
  const py::array delta = delta_.is_none() ? py::array() : exactly(delta_, "delta", {2});
  const RoundKeys key = expand_key(need_16_bytes(key_, "key"));
  need_range(bits, "bits", 1, 64);
  OtBitsArgs a{};
  a.index = need_word(index, "index"), a.domain = need_word(domain, "domain"), a.bits = static_cast<int>(bits);
  py::array planes = new_array({bits, blocks.shape(0) / 64}, false, 8);
  a.key = &key, a.blocks = data<uint64_t>(blocks), a.delta = delta_.is_none() ? nullptr : data<uint64_t>(delta);
  a.planes = mutable_data<uint64_t>(planes), a.n = blocks.shape(0);
  py::gil_scoped_release release;
  kernels().ot_bits(a, ot_threads(a.n));
  return planes;
}

py::tuple ot_send(const py::object& q_, const py::object& delta_, const py::object& values_, Whole bits,
                  const py::bytes& key_, Whole index, Whole domain) {
  const py::array q = blocks_of(q_, "q"), delta = exactly(delta_, "delta", {2});
  need_range(bits, "bits", 1, 64);
  const py::ssize_t bytes = bits <= 32 ? 4 : 8, n = q.shape(0);
  const py::array values = integers(values_, "values", bytes);
  need_shape(values, "values", {n});
  const RoundKeys key = expand_key(need_16_bytes(key_, "key"));
  OtSendArgs a{};
  a.index = need_word(index, "index"), a.domain = need_word(domain, "domain"), a.bits = static_cast<int>(bits);
  py::array share = new_array({n}, false, bytes), message = new_array({n / 64 * bits}, false, 8);
  a.key = &key, a.q = data<uint64_t>(q), a.delta = data<uint64_t>(delta), a.values = values.data(), a.n = n;
  a.share = share.mutable_data(), a.message = mutable_data<uint64_t>(message);
  {
    py::gil_scoped_release release;
    kernels().ot_send(a, ot_threads(n));
  }
  return py::make_tuple(share, message);
}

py::array ot_receive(const py::object& t_, const py::object& choices_, const py::object& message_, Whole bits,
                     const py::bytes& key_, Whole index, Whole domain) {
  const py::array t = blocks_of(t_, "t");
  need_range(bits, "bits", 1, 64);
  const py::ssize_t n = t.shape(0);
  const py::array choices = exactly(choices_, "choices", {n / 64});
  const py::array message = exactly(message_, "message", {n / 64 * bits});
  const RoundKeys key = expand_key(need_16_bytes(key_, "key"));
  OtReceiveArgs a{};
  a.index = need_word(index, "index"), a.domain = need_word(domain, "domain"), a.bits = static_cast<int>(bits);
  py::array share = new_array({n}, false, bits <= 32 ? 4 : 8);
  a.key = &key, a.t = data<uint64_t>(t), a.choices = data<uint64_t>(choices), a.n = n;
  a.message = data<uint64_t>(message), a.share = share.mutable_data();
  py::gil_scoped_release release;
  kernels().ot_receive(a, ot_threads(n));
  return share;
}

void ot_flip(const py::object& q_, const py::object& delta_, const py::object& plane_) {
  py::array q = in_place(q_, "q", shape_of(blocks_of(q_, "q")), 8);
  const py::array delta = exactly(delta_, "delta", {2}), plane = exactly(plane_, "plane", {q.shape(0) / 64});
  need_apart({{q, "q"}}, {{delta, "delta"}, {plane, "plane"}});
  const OtFlipArgs a{mutable_data<uint64_t>(q), data<uint64_t>(delta), data<uint64_t>(plane), q.shape(0)};
  py::gil_scoped_release release;
  kernels().ot_flip(a, threads_for(a.n, 1 << 15));
}

py::array expand_keys(const py::object& seeds_) {
  const py::array seeds = ring64(seeds_, "seeds");
  if (seeds.ndim() != 2 || seeds.shape(1) != 2)
    bad_value("seeds", "expected shape (n, 2), got " + shape_text(shape_of(seeds)));
  py::array keys = new_array({seeds.shape(0), 22}, false, 8);
  const auto* from = static_cast<const uint8_t*>(seeds.data());
  auto* to = static_cast<RoundKeys*>(keys.mutable_data());
  py::gil_scoped_release release;
  for (py::ssize_t i = 0; i < seeds.shape(0); ++i) to[i] = expand_key(from + 16 * i);
  return keys;
}

// What both halves of an extension have in common. The arrays are kept here, for what is not contiguous is copied.
struct Extension {
  py::array keys, delta, message, choices, coefficients, rows;
  VoleArgs a{};

  Extension(const py::object& keys_, Whole& k, const Whole& purpose, bool transpose) {
    need_range(k, "k", 1, 8);
    if (k & (k - 1)) bad_value("k", "expected 1, 2, 4 or 8, got " + std::to_string(k));
    keys = exactly(keys_, "keys", {128 / k << k, 22});
    a.purpose = need_word(purpose, "purpose");
    a.leaves = static_cast<const RoundKeys*>(keys.data()), a.k = static_cast<int>(k), a.transposed = transpose;
  }

  void run(int64_t words, const py::object& out) {
    rows = output(out, {64 * words, 2}, keys, 8);
    need_apart({{rows, "out"}},
               {{keys, "keys"}, {delta, "delta"}, {message, "message"}, {coefficients, "coefficients"}});
    if (reinterpret_cast<uintptr_t>(keys.data()) % alignof(RoundKeys)) bad_value("keys", "must be aligned to 16 bytes");
    a.rows = mutable_data<uint64_t>(rows), a.words = words;
    py::gil_scoped_release release;
    kernels().vole(a, threads_for(words, 64));
  }
};

py::tuple vole_receive(const py::object& keys, Whole words, Whole k, Whole purpose, bool transpose,
                       const py::object& out) {
  Extension e(keys, k, purpose, transpose);
  need_range(words, "words", 0, int64_t(1) << 40);
  e.choices = new_array({words}, false, 8), e.message = new_array({words * (128 / k - 1)}, false, 8);
  e.a.choices = mutable_data<uint64_t>(e.choices), e.a.message = mutable_data<uint64_t>(e.message);
  e.run(words, out);
  return py::make_tuple(e.rows, e.choices, e.message);
}

py::object vole_send(const py::object& keys, const py::object& delta, const py::object& message, Whole words, Whole k,
                     Whole purpose, bool transpose, const py::object& out, const py::object& coefficients_) {
  Extension e(keys, k, purpose, transpose);
  need_range(words, "words", 0, int64_t(1) << 40);
  e.delta = exactly(delta, "delta", {2}), e.message = exactly(message, "message", {words * (128 / k - 1)});
  e.a.delta = data<uint64_t>(e.delta), e.a.message = const_cast<uint64_t*>(data<uint64_t>(e.message));
  if (coefficients_.is_none()) {
    e.run(words, out);
    return e.rows;
  }
  if (!transpose) bad_value("transpose", "must be True where there are coefficients");
  e.coefficients = exactly(coefficients_, "coefficients", {words, 2});
  py::array tags = new_array({129, 2}, false, 8);
  e.a.coefficients = data<uint64_t>(e.coefficients), e.a.tags = mutable_data<uint64_t>(tags);
  e.run(words, out);
  return py::make_tuple(e.rows, tags);
}

py::array vole_fold(const py::object& rows_, const py::object& coefficients_, const py::object& choices_) {
  py::array rows = in_place(rows_, "rows", shape_of(blocks_of(rows_, "rows")), 8);
  const py::ssize_t words = rows.shape(0) / 64;
  const py::array coefficients = exactly(coefficients_, "coefficients", {words, 2});
  const py::array choices = choices_.is_none() ? py::array() : exactly(choices_, "choices", {words});
  need_apart({{rows, "rows"}}, {{coefficients, "coefficients"}, {choices, "choices"}});
  py::array tags = new_array({129, 2}, false, 8);
  FoldArgs a{};
  a.rows = mutable_data<uint64_t>(rows), a.tags = mutable_data<uint64_t>(tags), a.words = words;
  a.coefficients = data<uint64_t>(coefficients), a.choices = choices_.is_none() ? nullptr : data<uint64_t>(choices);
  py::gil_scoped_release release;
  kernels().vole_fold(a, threads_for(words, 64));
  return tags;
}

// (trees, size, 2) words.
py::array cube_of(const py::object& value, const char* name) {
  const py::array a = ring64(value, name);
  if (a.ndim() != 3 || a.shape(2) != 2) bad_value(name, "expected shape (trees, n, 2), got " + shape_text(shape_of(a)));
  return a;
}

enum : int64_t { kDeepest = 16 };

py::tuple trees_full(const py::bytes& key_, const py::object& roots_, const py::object& delta_, Whole depth,
                     const py::object& out) {
  const RoundKeys key = expand_key(need_16_bytes(key_, "key"));
  const py::array roots = ring64(roots_, "roots"), delta = exactly(delta_, "delta", {2});
  if (roots.ndim() != 2 || roots.shape(1) != 2)
    bad_value("roots", "expected shape (trees, 2), got " + shape_text(shape_of(roots)));
  need_range(depth, "depth", 1, kDeepest);
  const py::ssize_t n = roots.shape(0);
  py::array sums = new_array({n, depth, 2}, false, 8), leaves = output(out, {n << depth, 2}, roots, 8);
  need_apart({{leaves, "out"}}, {{roots, "roots"}, {delta, "delta"}});
  TreesArgs a{};
  a.key = &key, a.roots = data<uint64_t>(roots), a.delta = data<uint64_t>(delta), a.trees = n;
  a.sums = mutable_data<uint64_t>(sums), a.leaves = mutable_data<uint64_t>(leaves), a.depth = static_cast<int>(depth);
  {
    py::gil_scoped_release release;
    kernels().trees(a, threads_for(n << depth, 1 << 13));
  }
  return py::make_tuple(leaves, sums);
}

py::array trees_lacking(const py::bytes& key_, const py::object& sums_, const py::object& missing_,
                        const py::object& out) {
  const RoundKeys key = expand_key(need_16_bytes(key_, "key"));
  const py::array sums = cube_of(sums_, "sums"), missing = exactly(missing_, "missing", {sums.shape(0)});
  const int64_t n = sums.shape(0), depth = sums.shape(1);
  need_range(depth, "sums (levels)", 1, kDeepest);
  py::array leaves = output(out, {n << depth, 2}, sums, 8);
  need_apart({{leaves, "out"}}, {{sums, "sums"}, {missing, "missing"}});
  TreesArgs a{};
  a.key = &key, a.missing = data<uint64_t>(missing), a.sums = const_cast<uint64_t*>(data<uint64_t>(sums)), a.trees = n;
  a.leaves = mutable_data<uint64_t>(leaves), a.depth = static_cast<int>(depth);
  py::gil_scoped_release release;
  kernels().trees(a, threads_for(n << depth, 1 << 13));
  return leaves;
}

void lpn(const py::object& blocks_, const py::object& vector_, const py::bytes& seed, Whole first) {
  const RoundKeys key = expand_key(need_16_bytes(seed, "seed"));
  py::array blocks = in_place(blocks_, "blocks", shape_of(blocks_of(blocks_, "blocks")), 8);
  const py::array vector = ring64(vector_, "vector");
  if (vector.ndim() != 2 || vector.shape(1) != 2)
    bad_value("vector", "expected shape (n, 2), got " + shape_text(shape_of(vector)));
  need_range(vector.shape(0), "vector (length)", 1, INT32_MAX);
  need_range(first, "first", 0, int64_t(1) << 40);
  need_whole_words(first, "first");
  need_apart({{blocks, "blocks"}}, {{vector, "vector"}});
  LpnArgs a{};
  a.key = &key, a.vector = data<uint64_t>(vector), a.blocks = mutable_data<uint64_t>(blocks);
  a.size = vector.shape(0), a.first = first, a.n = blocks.shape(0);
  py::gil_scoped_release release;
  kernels().lpn(a, ot_threads(a.n));
}

py::array block_fold(const py::object& blocks_, const py::bytes& seed, Whole first) {
  const RoundKeys key = expand_key(need_16_bytes(seed, "seed"));
  const py::array blocks = blocks_of(blocks_, "blocks");
  need_range(first, "first", 0, int64_t(1) << 40);
  py::array tags = new_array({2, 2}, false, 8);
  const BlockFoldArgs a{&key, data<uint64_t>(blocks), mutable_data<uint64_t>(tags), first, blocks.shape(0)};
  py::gil_scoped_release release;
  kernels().block_fold(a, ot_threads(a.n));
  return tags;
}

}  // namespace

void bind_ot(py::module_& m) {
  m.def("ot_bits", &ot_bits);
  m.def("ot_send", &ot_send);
  m.def("ot_receive", &ot_receive);
  m.def("ot_flip_", &ot_flip);
  m.def("expand_keys", &expand_keys);
  m.def("vole_receive", &vole_receive);
  m.def("vole_send", &vole_send);
  m.def("vole_fold_", &vole_fold);
  m.def("trees_full", &trees_full);
  m.def("trees_lacking", &trees_lacking);
  m.def("lpn_", &lpn);
  m.def("block_fold", &block_fold);
}

}  // namespace autorep
