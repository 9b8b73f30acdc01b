// A comparison key as it comes from Python, checked.
#pragma once
#include "bindings/arrays.h"
#include "cpu/kernels.h"

namespace autorep {

struct DcfKey {
  py::array array;
  DcfLayout layout;
  RoundKeys hash_key;
  int64_t n;
};

DcfKey read_dcf_key(const py::object& value, const char* name);

// What the kernels ask for to evaluate all of it. The arrays have been checked.
DcfEvalArgs eval_args(const DcfKey& key, const py::array& root, const py::array& x, py::array& out, int party);

// Raises unless every element is below 2^bits. All are looked at.
void need_below(const py::array& a, const char* name, int bits);

}  // namespace autorep
