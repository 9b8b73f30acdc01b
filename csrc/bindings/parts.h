// The pieces of the extension module, one per subject.
#pragma once
#include <pybind11/pybind11.h>

namespace autorep {
void bind_activation(pybind11::module_& m);
void bind_bits(pybind11::module_& m);
void bind_conv(pybind11::module_& m);
void bind_dcf(pybind11::module_& m);
void bind_ot(pybind11::module_& m);
void bind_prg(pybind11::module_& m);
void bind_ring(pybind11::module_& m);
void bind_rlwe(pybind11::module_& m);
void bind_splines(pybind11::module_& m);
}  // namespace autorep
