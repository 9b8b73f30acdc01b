#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"

namespace autorep {
namespace {

py::array masked(const py::object& value) {
  py::array m = ring_any(value, "m");
  if (m.ndim() != 1) bad_value("m", "expected one dimension, got shape " + shape_text(shape_of(m)));
  return m;
}

int64_t plane_words(int64_t n) { return (n + 63) / 64; }

py::array cell_bits(const py::object& m_, const py::object& v_, const py::object& cells_, Whole shift,
                    const py::object& places_) {
  const py::array m = masked(m_), v = ring64(v_, "v"), cells = ring64(cells_, "cells"),
                  places = ring64(places_, "places");
  const int64_t n = m.size();
  need_shape(v, "v", {plane_words(n)});
  need_shape(cells, "cells", {2, n});
  need_shape(places, "places", {places.size()});
  need_range(shift, "shift", 0, 8 * m.itemsize() - 6);
  for (int64_t i = 0; i < places.size(); ++i)
    need_range(static_cast<int64_t>(data<uint64_t>(places)[i]), "places", 0, 63);
  py::array planes = new_array({places.size(), plane_words(n)}, false, 8);
  CellBitsArgs a{};
  a.m = m.data(), a.v = data<uint64_t>(v), a.cells = data<uint64_t>(cells), a.places = data<uint64_t>(places);
  a.planes = mutable_data<uint64_t>(planes), a.n = n, a.knots = places.size();
  a.shift = static_cast<int>(shift), a.m_bytes = static_cast<int>(m.itemsize());
  py::gil_scoped_release release;
  kernels().cell_bits(a, threads_for(n, 1 << 13));
  return planes;
}

py::array spline_sums(const py::object& v_, const py::object& u_, const py::object& a_, const py::object& base_,
                      const py::object& rises_, Whole party) {
  const py::array u = ring_any(u_, "u");
  if (u.ndim() != 2) bad_value("u", "expected shape (knots, n), got " + shape_text(shape_of(u)));
  const int64_t knots = u.shape(0), n = u.shape(1);
  const py::array v = ring64(v_, "v"), off = integers(a_, "a", u.itemsize()), base = ring64(base_, "base"),
                  rises = ring64(rises_, "rises");
  const int64_t rows = base.size();
  need_range(rows, "base (rows)", 2, 3);
  need_range(party, "party", 0, 1);
  need_shape(v, "v", {knots, plane_words(n)});
  need_shape(off, "a", {rows - 1, n});
  need_shape(base, "base", {rows});
  need_shape(rises, "rises", {rows, knots});
  py::array out = new_array({rows, n}, false, u.itemsize());
  SplineSumsArgs a{};
  a.v = data<uint64_t>(v), a.base = data<uint64_t>(base), a.rises = data<uint64_t>(rises);
  a.u = u.data(), a.a = off.data(), a.out = out.mutable_data(), a.n = n, a.knots = knots;
  a.rows = static_cast<int>(rows), a.party = static_cast<int>(party), a.out_bytes = static_cast<int>(u.itemsize());
  py::gil_scoped_release release;
  kernels().spline_sums(a, threads_for(n, 1 << 12));
  return out;
}

py::array spline_close(const py::object& m_, const py::object& sums_, const py::object& theirs, const py::object& a_,
                       const py::object& alpha, const py::object& beta, const py::object& alpha2, const py::object& ab,
                       const py::object& a_alpha, const py::object& a_beta, const py::object& a_alpha2,
                       const py::object& a_ab, const py::object& sub, Whole shift) {
  const py::array m = masked(m_), sums = ring_any(sums_, "sums");
  const int64_t n = m.size(), rows = sums.ndim() == 2 ? sums.shape(0) : 0;
  need_range(rows, "sums (rows)", 2, 3);
  need_shape(sums, "sums", {rows, n});
  need_range(shift, "shift", 0, 8 * m.itemsize() - 2);
  std::vector<py::array> held;
  const auto take = [&](const py::object& value, const char* name,
                        const std::vector<py::ssize_t>& shape) -> const void* {
    if (value.is_none()) return nullptr;
    held.push_back(integers(value, name, sums.itemsize()));
    need_shape(held.back(), name, shape);
    return held.back().data();
  };
  SplineCloseArgs a{};
  a.m = m.data(), a.sums = sums.data(), a.n = n, a.shift = static_cast<int>(shift);
  a.m_bytes = static_cast<int>(m.itemsize()), a.out_bytes = static_cast<int>(sums.itemsize());
  a.theirs = take(theirs, "theirs", {rows - 1, n}), a.a = take(a_, "a", {rows - 1, n});
  a.a_alpha = take(a_alpha, "a_alpha", {rows - 1, n}), a.a_beta = take(a_beta, "a_beta", {rows - 1, n});
  a.alpha = take(alpha, "alpha", {n}), a.beta = take(beta, "beta", {n});
  if (!a.theirs || !a.a || !a.a_alpha || !a.a_beta || !a.alpha || !a.beta)
    bad_value("sums", "needs theirs, a, a_alpha, a_beta, alpha and beta");
  a.alpha2 = take(alpha2, "alpha2", {n}), a.ab = take(ab, "ab", {n});
  a.a_alpha2 = take(a_alpha2, "a_alpha2", {n}), a.a_ab = take(a_ab, "a_ab", {n});
  const bool bends = rows == 3;
  for (const void* p : {a.alpha2, a.ab, a.a_alpha2, a.a_ab})
    if (bends != (p != nullptr)) bad_value("alpha2", "alpha2, ab, a_alpha2 and a_ab go with three rows of sums");
  a.sub = take(sub, "sub", {n});
  py::array out = new_array({n}, is_signed(m), sums.itemsize());
  a.out = out.mutable_data();
  py::gil_scoped_release release;
  kernels().spline_close(a, threads_for(n, 1 << 12));
  return out;
}

}  // namespace

void bind_splines(py::module_& m) {
  m.def("cell_bits", &cell_bits);
  m.def("spline_sums", &spline_sums);
  m.def("spline_close", &spline_close);
}

}  // namespace autorep
