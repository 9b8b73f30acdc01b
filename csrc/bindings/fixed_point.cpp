#include <cmath>

#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"

namespace autorep {
namespace {

py::array encode(const py::object& value, Whole frac_bits, const py::object& out) {
  if (!py::isinstance<py::array>(value) && !py::hasattr(value, "__array__"))
    bad_type("x", "expected an array of float32 or float64");
  const py::array given = py::array::ensure(value);
  if (!given) {
    PyErr_Clear();
    bad_type("x", "cannot be read as an array (is it on the CPU and detached?)");
  }
  const auto size = given.itemsize();
  if (given.dtype().kind() != 'f' || (size != 4 && size != 8) || given.dtype().byteorder() != '=')
    bad_type("x", "expected native float32 or float64, got dtype " + std::string(py::str(given.dtype())));
  const py::array x = py::array::ensure(given, py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_);
  need_range(frac_bits, "frac_bits", 0, 61);
  py::array result = output(out, shape_of(x));
  const EncodeArgs a{x.data(), mutable_data<uint64_t>(result), x.size(), std::ldexp(1.0, static_cast<int>(frac_bits)),
                     static_cast<int>(size)};
  bool fits = true;
  {
    py::gil_scoped_release release;
    if (a.n) fits = kernels().encode(a, threads_for(a.n, 65536));
  }
  if (!fits)
    bad_value("x", "an element is not finite, or its magnitude is 2**" + std::to_string(62 - frac_bits) + " or more");
  return result;
}

py::array decode(const py::object& value, Whole frac_bits, const py::object& dtype) {
  const py::array v = ring64(value, "v");
  need_range(frac_bits, "frac_bits", 0, 63);
  const py::dtype real = py::dtype::from_args(dtype);
  if (real.kind() != 'f' || (real.itemsize() != 4 && real.itemsize() != 8))
    bad_type("dtype", "expected float32 or float64");
  py::array result(py::dtype(real.itemsize() == 4 ? "f4" : "f8"), shape_of(v));
  const DecodeArgs a{data<uint64_t>(v), result.mutable_data(), v.size(), std::ldexp(1.0, -static_cast<int>(frac_bits)),
                     static_cast<int>(real.itemsize())};
  py::gil_scoped_release release;
  if (a.n) kernels().decode(a, threads_for(a.n, 65536));
  return result;
}

}  // namespace

void bind_fixed_point(py::module_& m) {
  m.def("encode", &encode);
  m.def("decode", &decode);
}

}  // namespace autorep
