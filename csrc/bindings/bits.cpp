#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"

namespace autorep {
namespace {

py::array planes_of(const py::object& value, const char* name) {
  py::array a = ring64(value, name);
  if (a.ndim() != 2) bad_value(name, "expected planes of shape (rows, words), got " + shape_text(shape_of(a)));
  return a;
}

py::array vector_of(const py::object& value, const char* name) {
  py::array a = ring64(value, name);
  if (a.ndim() != 1) bad_value(name, "expected one dimension, got shape " + shape_text(shape_of(a)));
  return a;
}

int plane_threads(int64_t words) { return threads_for(words, 1 << 13); }

py::array pack_bits(const py::object& value, Whole shift, Whole bits) {
  const py::array v = ring_any(value, "v");
  if (v.ndim() != 1) bad_value("v", "expected one dimension, got shape " + shape_text(shape_of(v)));
  const int64_t width = 8 * v.itemsize();
  need_range(shift, "shift", 0, width - 1);
  need_range(bits, "bits", 1, width - shift);
  py::array planes = new_array({bits, (v.size() + 63) / 64}, false, 8);
  PackArgs a{};
  a.values = v.data(), a.planes = mutable_data<uint64_t>(planes), a.n = v.size();
  a.shift = static_cast<int>(shift), a.bits = static_cast<int>(bits), a.value_bytes = static_cast<int>(v.itemsize());
  py::gil_scoped_release release;
  if (a.n) kernels().pack_bits(a, plane_threads(a.n));
  return planes;
}

py::array unpack_bits(const py::object& value, Whole n) {
  const py::array planes = planes_of(value, "planes");
  need_range(planes.shape(0), "planes (rows)", 1, 64);
  need_range(n, "n", 0, planes.shape(1) * 64);
  if ((n + 63) / 64 != planes.shape(1))
    bad_value("n", std::to_string(n) + " elements do not take " + std::to_string(planes.shape(1)) + " words");
  py::array values = new_array({n}, false, 8);
  const UnpackArgs a{data<uint64_t>(planes), mutable_data<uint64_t>(values), n, static_cast<int>(planes.shape(0))};
  py::gil_scoped_release release;
  if (n) kernels().unpack_bits(a, plane_threads(n));
  return values;
}

py::tuple borrow_bits(const py::object& m_planes, const py::object& r_planes, Whole party) {
  const py::array m = planes_of(m_planes, "m_planes"), r = planes_of(r_planes, "r_planes");
  need_shape(r, "r_planes", shape_of(m));
  need_range(party, "party", 0, 1);
  py::array g = new_array(shape_of(m), false, 8), p = new_array(shape_of(m), false, 8);
  BorrowArgs a{};
  a.m = data<uint64_t>(m), a.r = data<uint64_t>(r);
  a.g = mutable_data<uint64_t>(g), a.p = mutable_data<uint64_t>(p);
  a.n = m.size(), a.party = static_cast<int>(party);
  {
    py::gil_scoped_release release;
    kernels().borrow_bits(a, plane_threads(a.n));
  }
  return py::make_tuple(g, p);
}

// What both halves of a carry step have in common.
struct CarryInput {
  py::array g, p, a, b;
  int64_t nodes, words, pairs;

  CarryInput(const py::object& g_, const py::object& p_, const py::object& a_, const py::object& b_)
      : g(planes_of(g_, "g")), p(planes_of(p_, "p")), a(planes_of(a_, "a")), b(planes_of(b_, "b")) {
    nodes = g.shape(0), words = g.shape(1), pairs = nodes / 2;
    if (nodes < 2) bad_value("g", "expected at least two nodes (rows), got " + std::to_string(nodes));
    need_shape(p, "p", {nodes, words});
    need_shape(a, "a", {pairs, words});
    need_shape(b, "b", {2 * pairs - 1, words});
  }
};

py::array carry_open(const py::object& g, const py::object& p, const py::object& a, const py::object& b) {
  const CarryInput in(g, p, a, b);
  py::array message = new_array({3 * in.pairs - 1, in.words}, false, 8);
  CarryArgs args{};
  args.g = data<uint64_t>(in.g), args.p = data<uint64_t>(in.p), args.a = data<uint64_t>(in.a),
  args.b = data<uint64_t>(in.b);
  args.message = mutable_data<uint64_t>(message);
  args.nodes = in.nodes, args.words = in.words;
  py::gil_scoped_release release;
  kernels().carry_open(args, plane_threads(args.nodes * args.words));
  return message;
}

py::tuple carry_close(const py::object& g, const py::object& p, const py::object& message, const py::object& received,
                      const py::object& a, const py::object& b, const py::object& c, Whole party) {
  const CarryInput in(g, p, a, b);
  const py::array mine = planes_of(message, "message"), theirs = planes_of(received, "received"),
                  products = planes_of(c, "c");
  need_shape(mine, "message", {3 * in.pairs - 1, in.words});
  need_shape(theirs, "received", {3 * in.pairs - 1, in.words});
  need_shape(products, "c", {2 * in.pairs - 1, in.words});
  need_range(party, "party", 0, 1);
  const int64_t rows = (in.nodes + 1) / 2;
  py::array g_out = new_array({rows, in.words}, false, 8), p_out = new_array({rows, in.words}, false, 8);
  CarryArgs args{};
  args.g = data<uint64_t>(in.g), args.p = data<uint64_t>(in.p), args.a = data<uint64_t>(in.a),
  args.b = data<uint64_t>(in.b);
  // carry_close only reads it
  args.message = const_cast<uint64_t*>(data<uint64_t>(mine));
  args.received = data<uint64_t>(theirs), args.c = data<uint64_t>(products);
  args.g_out = mutable_data<uint64_t>(g_out), args.p_out = mutable_data<uint64_t>(p_out);
  args.nodes = in.nodes, args.words = in.words, args.party = static_cast<int>(party);
  {
    py::gil_scoped_release release;
    kernels().carry_close(args, plane_threads(args.nodes * args.words));
  }
  return py::make_tuple(g_out, p_out);
}

void deal_and(const py::object& a0, const py::object& b0, const py::object& a1, const py::object& b1,
              const py::object& c) {
  const py::array x0 = planes_of(a0, "a0"), x1 = planes_of(a1, "a1"), y0 = planes_of(b0, "b0"),
                  y1 = planes_of(b1, "b1");
  need_shape(x1, "a1", shape_of(x0));
  need_shape(y1, "b1", shape_of(y0));
  if (x0.shape(0) < 1 || y0.shape(1) != x0.shape(1))
    bad_value("b0", "does not fit to a0: " + shape_text(shape_of(y0)) + " and " + shape_text(shape_of(x0)));
  py::array products = in_place(c, "c", shape_of(y0), 8);
  need_apart({{products, "c"}}, {{x0, "a0"}, {y0, "b0"}, {x1, "a1"}, {y1, "b1"}});
  DealAndArgs args{};
  args.a0 = data<uint64_t>(x0), args.a1 = data<uint64_t>(x1);
  args.b0 = data<uint64_t>(y0), args.b1 = data<uint64_t>(y1);
  args.c = mutable_data<uint64_t>(products);
  args.a_rows = x0.shape(0), args.b_rows = y0.shape(0), args.words = x0.shape(1);
  py::gil_scoped_release release;
  kernels().deal_and(args, plane_threads(y0.size()));
}

py::array select(const py::object& masked, const py::object& v, const py::object& u, const py::object& ua,
                 const py::object& ub, const py::object& alpha, const py::object& beta, Whole shift, Whole party) {
  const py::array m = ring_any(masked, "m"), bits = vector_of(v, "v");
  if (m.ndim() != 1) bad_value("m", "expected one dimension, got shape " + shape_text(shape_of(m)));
  const auto shape = shape_of(m);
  need_shape(bits, "v", {(m.size() + 63) / 64});
  const int wire = static_cast<int>(m.itemsize()), bytes = width_of(alpha);
  const int short_bytes = beta_width(beta, "beta", wire, bytes, shift);
  need_range(party, "party", 0, 1);
  const py::array uu = integers(u, "u", bytes), uua = integers(ua, "ua", bytes), uub = integers(ub, "ub", short_bytes),
                  al = integers(alpha, "alpha", bytes), be = integers(beta, "beta", short_bytes);
  need_shape(uu, "u", shape);
  need_shape(uua, "ua", shape);
  need_shape(uub, "ub", shape);
  need_shape(al, "alpha", shape);
  need_shape(be, "beta", shape);
  py::array result = new_array(shape, is_signed(m), bytes);
  SelectArgs a{};
  a.m = m.data(), a.v = data<uint64_t>(bits), a.alpha = al.data(), a.beta = be.data();
  a.u = uu.data(), a.ua = uua.data(), a.ub = uub.data();
  a.out = result.mutable_data(), a.n = m.size(), a.shift = static_cast<int>(shift), a.party = static_cast<int>(party);
  a.m_bytes = wire, a.out_bytes = bytes, a.beta_bytes = short_bytes;
  py::gil_scoped_release release;
  kernels().select(a, plane_threads(a.n));
  return result;
}

void deal_select(const py::object& mask, const py::object& u_bits, const py::object& u, const py::object& ua,
                 const py::object& ub, Whole shift) {
  const py::array r = ring_any(mask, "r"), bits = vector_of(u_bits, "u_bits");
  if (r.ndim() != 1) bad_value("r", "expected one dimension, got shape " + shape_text(shape_of(r)));
  need_shape(bits, "u_bits", {(r.size() + 63) / 64});
  const int wire = static_cast<int>(r.itemsize()), bytes = width_of(ua);
  const int short_bytes = beta_width(ub, "ub", wire, bytes, shift);
  py::array uu = in_place(u, "u", shape_of(r), bytes), uua = in_place(ua, "ua", shape_of(r), bytes),
            uub = in_place(ub, "ub", shape_of(r), short_bytes);
  need_apart({{uu, "u"}, {uua, "ua"}, {uub, "ub"}}, {{r, "r"}, {bits, "u_bits"}});
  DealSelectArgs a{};
  a.r = r.data(), a.bits = data<uint64_t>(bits);
  a.u = uu.mutable_data(), a.ua = uua.mutable_data(), a.ub = uub.mutable_data();
  a.n = r.size(), a.shift = static_cast<int>(shift);
  a.r_bytes = wire, a.share_bytes = bytes, a.beta_bytes = short_bytes;
  py::gil_scoped_release release;
  kernels().deal_select(a, plane_threads(a.n));
}

}  // namespace

void bind_bits(py::module_& m) {
  m.def("pack_bits", &pack_bits);
  m.def("unpack_bits", &unpack_bits);
  m.def("borrow_bits", &borrow_bits);
  m.def("carry_open", &carry_open);
  m.def("carry_close", &carry_close);
  m.def("deal_and_", &deal_and);
  m.def("select", &select);
  m.def("deal_select_", &deal_select);
}

}  // namespace autorep
