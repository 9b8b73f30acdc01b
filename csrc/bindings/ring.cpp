#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"

namespace autorep {
namespace {

// How `offset` repeats over `shape`: element i uses offset[(i / inner) % count]. Raises where the shapes do not
// broadcast or where the offset's own dimensions are not adjacent (it would need more than one period).
void broadcast_period(const std::vector<py::ssize_t>& shape, const py::array& offset, int64_t& inner, int64_t& count) {
  const std::vector<py::ssize_t> own = shape_of(offset);
  const auto fail = [&] {
    bad_value("offset", "shape " + shape_text(own) + " does not broadcast over " + shape_text(shape) +
                            " (its dimensions other than 1 must be adjacent)");
  };
  if (own.size() > shape.size()) fail();
  const size_t lead = shape.size() - own.size();
  inner = 1, count = 1;
  int stage = 0;  // from the last dimension: 0 trailing ones, 1 own dimensions, 2 leading ones
  for (size_t d = shape.size(); d-- > 0;) {
    const py::ssize_t want = shape[d], have = d >= lead ? own[d - lead] : 1;
    if (have != want && have != 1) fail();
    if (want == 1) continue;
    if (have == want) {
      if (stage == 2) fail();
      stage = 1;
      count *= have;
    } else if (stage == 0) {
      inner *= want;
    } else {
      stage = 2;
    }
  }
}

py::array beaver_square(const py::object& epsilon, const py::object& r, const py::object& r2, const py::object& offset,
                        Whole frac_bits, Whole party, const py::object& out) {
  const py::array e = ring64(epsilon, "epsilon"), rr = ring64(r, "r"), s = ring64(r2, "r2");
  const auto shape = shape_of(e);
  need_shape(rr, "r", shape);
  need_shape(s, "r2", shape);
  need_range(frac_bits, "frac_bits", 0, 62);
  need_range(party, "party", 0, 1);
  py::array off;
  BeaverSquareArgs a{};
  a.inner = a.count = 1;
  if (!offset.is_none()) {
    off = ring64(offset, "offset");
    broadcast_period(shape, off, a.inner, a.count);
    a.offset = data<uint64_t>(off);
  }
  py::array result = output(out, shape, e);
  a.epsilon = data<uint64_t>(e), a.r = data<uint64_t>(rr), a.r2 = data<uint64_t>(s);
  a.out = mutable_data<uint64_t>(result);
  a.n = e.size(), a.frac_bits = static_cast<int>(frac_bits), a.party = static_cast<int>(party);
  {
    py::gil_scoped_release release;
    if (a.n) kernels().beaver_square(a, threads_for(a.n, 32768));
  }
  return result;
}

}  // namespace

void bind_ring(py::module_& m) {
  m.def("beaver_square", &beaver_square, py::arg("epsilon"), py::arg("r"), py::arg("r2"),
        py::arg("offset") = py::none(), py::kw_only(), py::arg("frac_bits"), py::arg("party"),
        py::arg("out") = py::none());
}

}  // namespace autorep
