#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"

namespace autorep {
namespace {

py::array beaver_square(const py::object& epsilon, const py::object& r, const py::object& r2, Whole frac_bits,
                        Whole party, const py::object& out) {
  const py::array e = ring64(epsilon, "epsilon"), rr = ring64(r, "r"), s = ring64(r2, "r2");
  const auto shape = shape_of(e);
  need_shape(rr, "r", shape);
  need_shape(s, "r2", shape);
  need_range(frac_bits, "frac_bits", 0, 62);
  need_range(party, "party", 0, 1);
  py::array result = output(out, shape, e, 8);
  need_apart({{result, "out"}}, {}, {{e, "epsilon"}, {rr, "r"}, {s, "r2"}});
  BeaverSquareArgs a{};
  a.epsilon = data<uint64_t>(e), a.r = data<uint64_t>(rr), a.r2 = data<uint64_t>(s);
  a.out = mutable_data<uint64_t>(result);
  a.n = e.size(), a.frac_bits = static_cast<int>(frac_bits), a.party = static_cast<int>(party);
  py::gil_scoped_release release;
  if (a.n) kernels().beaver_square(a, threads_for(a.n, 32768));
  return result;
}

}  // namespace

void bind_ring(py::module_& m) { m.def("beaver_square", &beaver_square); }

}  // namespace autorep
