#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"
#include "prg/key_schedule.h"

namespace autorep {
namespace {

py::array prg_words(const py::bytes& seed, Whole purpose_, const std::vector<py::ssize_t>& shape) {
  for (py::ssize_t s : shape)
    if (s < 0) bad_value("shape", "sizes must not be negative, got " + shape_text(shape));
  const RoundKeys key = expand_key(need_16_bytes(seed, "seed"));
  const uint64_t purpose = need_word(purpose_, "purpose");
  py::array result = new_array(shape, false, 8);
  const StreamArgs a{&key, purpose, mutable_data<uint64_t>(result), result.size()};
  py::gil_scoped_release release;
  if (a.n) kernels().stream(a, threads_for(a.n, 16384));
  return result;
}

}  // namespace

void bind_prg(py::module_& m) { m.def("prg_words", &prg_words, py::arg("seed"), py::arg("purpose"), py::arg("shape")); }

}  // namespace autorep
