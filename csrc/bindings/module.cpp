#include <pybind11/stl.h>

#include <string>

#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"

PYBIND11_MODULE(_C, m) {
  using namespace autorep;
  m.doc() = "Compiled kernels of autorep_fx; use autorep_fx.kernels.";
  m.attr("abi") = 12;
  m.def("available_tiers", &available_tiers);
  m.def("tier", [] { return std::string(kernels().tier); });
  m.def("set_tier", &set_tier, py::arg("name"));
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", [](Whole n) {
    need_range(n, "n", 1, 1024);
    set_num_threads(static_cast<int>(n));
  }, py::arg("n"));
  bind_activation(m);
  bind_bits(m);
  bind_conv(m);
  bind_dcf(m);
  bind_ot(m);
  bind_prg(m);
  bind_ring(m);
  bind_rlwe(m);
  bind_splines(m);
}
