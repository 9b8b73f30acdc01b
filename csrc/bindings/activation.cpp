#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/dcf_key.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"

namespace autorep {
namespace {

// Sorted, distinct, within the positions.
py::array keep_index(const py::object& keep, int64_t positions) {
  const py::array k = integers(keep, "keep", 8);
  if (k.ndim() != 1)
    bad_value("keep", "expected one dimension of sorted positions, got shape " + shape_text(shape_of(k)));
  const auto* p = data<int64_t>(k);
  int64_t before = -1;
  for (py::ssize_t i = 0; i < k.size(); ++i) {
    if (p[i] <= before || p[i] >= positions)
      bad_value("keep", "positions must increase and lie in 0 to " + std::to_string(positions - 1));
    before = p[i];
  }
  return k;
}

py::array matrix(const py::object& value, const char* name) {
  py::array a = ring_any(value, name);
  if (a.ndim() != 2) bad_value(name, "expected shape (batch, positions), got " + shape_text(shape_of(a)));
  return a;
}

py::array activation_step(const py::object& masked, Whole shift, Whole align, Whole party, const py::object& alpha,
                          const py::object& beta, const py::object& alpha2, const py::object& ab,
                          const py::object& linear, const py::object& relu, const py::object& keep,
                          const py::object& sub, const py::object& out) {
  const py::array m = matrix(masked, "m");
  const auto shape = shape_of(m);
  ActivationArgs a{};
  a.m_bytes = static_cast<int>(m.itemsize());
  a.out_bytes = alpha.is_none() ? relu.is_none() ? a.m_bytes : width_of(relu) : width_of(alpha);
  a.beta_bytes = beta_width(beta, "beta", a.m_bytes, a.out_bytes, shift);
  need_range(align, "align", 0, 63);
  need_range(party, "party", 0, 1);
  const int bytes = a.out_bytes;
  std::vector<Named> held;
  const auto take = [&](const py::object& value, const char* name, py::ssize_t itemsize,
                        const std::vector<py::ssize_t>& want) -> const void* {
    if (value.is_none()) return nullptr;
    held.push_back({integers(value, name, itemsize), name});
    need_shape(held.back().array, name, want);
    return held.back().array.data();
  };
  a.m = m.data();
  a.alpha = take(alpha, "alpha", bytes, shape);
  a.beta = take(beta, "beta", a.beta_bytes, shape);
  a.alpha2 = take(alpha2, "alpha2", bytes, shape);
  a.ab = take(ab, "ab", a.beta_bytes, shape);
  if (!a.alpha != !a.beta) bad_value(a.alpha ? "beta" : "alpha", "alpha and beta go together");
  if (!a.alpha2 != !a.ab) bad_value(a.alpha2 ? "ab" : "alpha2", "alpha2 and ab go together");
  if (a.alpha2 && !a.alpha) bad_value("alpha", "is needed where alpha2 is given");
  py::array lin;
  if (!linear.is_none()) {
    lin = py::array::ensure(linear, py::array::c_style);
    if (!lin || lin.dtype().kind() != 'b') bad_type("linear", "expected an array of bool");
    need_shape(lin, "linear", {shape[1]});
    a.linear = static_cast<const uint8_t*>(lin.data());
  }
  py::array kept;
  if (!keep.is_none()) {
    kept = keep_index(keep, shape[1]);
    a.keep = data<int64_t>(kept), a.kept = kept.size();
  }
  if (a.kept && relu.is_none()) bad_value("relu", "is needed where keep is given");
  if (!relu.is_none()) a.relu = take(relu, "relu", bytes, {shape[0], a.kept});
  if (!a.alpha && a.kept != shape[1]) bad_value("alpha", "may be None only where every position is kept");
  a.sub = take(sub, "sub", bytes, shape);
  py::array result = output(out, shape, m, bytes);
  held.push_back({lin, "linear"}), held.push_back({kept, "keep"});
  need_apart({{result, "out"}}, held, {{m, "m"}});
  a.out = result.mutable_data();
  a.batch = shape[0], a.positions = shape[1];
  a.shift = static_cast<int>(shift), a.align = static_cast<int>(align), a.party = static_cast<int>(party);
  py::gil_scoped_release release;
  if (m.size()) kernels().activation_step(a, threads_for(m.size(), 32768));
  return result;
}

void deal_powers(const py::object& mask, Whole shift, const py::object& alpha, const py::object& beta,
                 const py::object& alpha2, const py::object& ab) {
  const py::array r = ring_any(mask, "r");
  const auto shape = shape_of(r);
  DealPowersArgs a{};
  a.r_bytes = static_cast<int>(r.itemsize()), a.share_bytes = width_of(alpha);
  a.beta_bytes = beta_width(beta, "beta", a.r_bytes, a.share_bytes, shift);
  if (alpha2.is_none() != ab.is_none()) bad_value("alpha2", "alpha2 and ab go together");
  py::array al = in_place(alpha, "alpha", shape, a.share_bytes), be = in_place(beta, "beta", shape, a.beta_bytes), a2,
            both;
  a.r = r.data(), a.alpha = al.mutable_data(), a.beta = be.mutable_data(), a.n = r.size();
  a.shift = static_cast<int>(shift);
  if (!alpha2.is_none()) {
    a2 = in_place(alpha2, "alpha2", shape, a.share_bytes), both = in_place(ab, "ab", shape, a.beta_bytes);
    a.alpha2 = a2.mutable_data(), a.ab = both.mutable_data();
  }
  need_apart({{al, "alpha"}, {be, "beta"}, {a2, "alpha2"}, {both, "ab"}}, {{r, "r"}});
  py::gil_scoped_release release;
  if (a.n) kernels().deal_powers(a, threads_for(a.n, 32768));
}

py::array window(const py::object& value, const py::object& keep, Whole shift, Whole bits) {
  const py::array v = matrix(value, "v");
  const int64_t width = 8 * v.itemsize();
  need_range(shift, "shift", 0, width - 1);
  need_range(bits, "bits", 1, width - shift);
  WindowArgs a{};
  py::array kept;
  a.batch = v.shape(0), a.positions = a.kept = v.shape(1);
  if (!keep.is_none()) {
    kept = keep_index(keep, a.positions);
    a.keep = data<int64_t>(kept), a.kept = kept.size();
  }
  py::array result = new_array({a.batch, a.kept}, false, 8);
  a.v = v.data(), a.out = mutable_data<uint64_t>(result), a.v_bytes = static_cast<int>(v.itemsize());
  a.shift = static_cast<int>(shift), a.bits = static_cast<int>(bits);
  py::gil_scoped_release release;
  if (result.size()) kernels().window(a, threads_for(result.size(), 65536));
  return result;
}

py::tuple deal_relu(const py::object& r_window, const py::object& shares, Whole bits) {
  const py::array r = ring64(r_window, "r_window");
  need_range(bits, "bits", 2, 63);
  if (r.ndim() != 1) bad_value("r_window", "expected one dimension, got shape " + shape_text(shape_of(r)));
  need_below(r, "r_window", static_cast<int>(bits));
  const int bytes = width_of(shares);
  py::array s = in_place(shares, "shares", {r.size(), 3}, bytes);
  need_apart({{s, "shares"}}, {{r, "r_window"}});
  py::array alpha = new_array({r.size()}, false, 8), payload = new_array({r.size(), 3}, false, bytes);
  DealReluArgs a{};
  a.window = data<uint64_t>(r), a.alpha = mutable_data<uint64_t>(alpha);
  a.payload = payload.mutable_data(), a.shares = s.mutable_data();
  a.n = r.size(), a.bits = static_cast<int>(bits), a.share_bytes = bytes;
  {
    py::gil_scoped_release release;
    if (a.n) kernels().deal_relu(a, threads_for(a.n, 32768));
  }
  return py::make_tuple(alpha, payload);
}

py::array relu_fss(const py::object& key, const py::object& root, const py::object& m_window, const py::object& shares,
                   Whole party) {
  const DcfKey k = read_dcf_key(key, "key");
  if (k.layout.payloads != 3 || k.layout.bits > 62) bad_value("key", "expected three payloads and at most 62 bits");
  const int bytes = k.layout.word_bytes;
  const py::array r = ring64(root, "root"), m = ring64(m_window, "m_window"), s = integers(shares, "shares", bytes);
  need_shape(r, "root", {k.n, 2});
  need_shape(m, "m_window", {k.n});
  need_shape(s, "shares", {k.n, 3});
  need_range(party, "party", 0, 1);
  need_below(m, "m_window", k.layout.bits + 1);
  py::array result = new_array({k.n}, is_signed(s), bytes);
  ReluArgs a{};
  a.eval = eval_args(k, r, m, result, static_cast<int>(party));
  a.shares = s.data();
  py::gil_scoped_release release;
  if (k.n) kernels().relu_fss(a, threads_for(k.n, 512));
  return result;
}

py::tuple relu_checked(const py::object& key, const py::object& root, const py::object& m_window,
                       const py::object& shares, const py::object& tags, Whole party, Whole tag_key) {
  const DcfKey k = read_dcf_key(key, "key");
  if (k.layout.payloads != 6 || k.layout.bits > 62) bad_value("key", "expected six payloads and at most 62 bits");
  const py::array r = ring64(root, "root"), m = ring64(m_window, "m_window"), s = ring_any(shares, "shares");
  const py::array t = ring64(tags, "tags");
  need_shape(r, "root", {k.n, 2});
  need_shape(m, "m_window", {k.n});
  need_shape(s, "shares", {k.n, 3});
  need_shape(t, "tags", {k.n, 3});
  need_range(party, "party", 0, 1);
  need_below(m, "m_window", k.layout.bits + 1);
  py::array value = new_array({k.n}, is_signed(s), s.itemsize()), tag = new_array({k.n}, false, 8);
  ReluCheckedArgs a{};
  a.eval = eval_args(k, r, m, tag, static_cast<int>(party));
  a.shares = s.data(), a.tags = data<uint64_t>(t), a.value = value.mutable_data();
  a.tag = mutable_data<uint64_t>(tag), a.key = need_word(tag_key, "tag_key");
  a.value_bytes = static_cast<int>(s.itemsize());
  {
    py::gil_scoped_release release;
    if (k.n) kernels().relu_checked(a, threads_for(k.n, 512));
  }
  return py::make_tuple(value, tag);
}

}  // namespace

void bind_activation(py::module_& m) {
  m.def("activation_step", &activation_step);
  m.def("deal_powers_", &deal_powers);
  m.def("window", &window);
  m.def("deal_relu_", &deal_relu);
  m.def("relu_fss", &relu_fss);
  m.def("relu_checked", &relu_checked);
}

}  // namespace autorep
