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

py::array weigh(const py::bytes& seed, Whole purpose_, const py::object& values) {
  const py::array v = ring64(values, "values");
  if (v.ndim() != 2) bad_value("values", "expected shape (rows, n), got " + shape_text(shape_of(v)));
  const RoundKeys key = expand_key(need_16_bytes(seed, "seed"));
  const uint64_t purpose = need_word(purpose_, "purpose");
  py::array sums = new_array({v.shape(0)}, false, 8);
  const WeighArgs a{&key, data<uint64_t>(v), mutable_data<uint64_t>(sums), purpose, v.shape(0), v.shape(1)};
  py::gil_scoped_release release;
  if (a.rows) kernels().weigh(a, threads_for(v.size(), 16384));
  return sums;
}

py::array tag_words(const py::object& values, Whole factor_, const py::bytes& seed, Whole purpose_) {
  const py::array v = ring64(values, "values");
  const RoundKeys key = expand_key(need_16_bytes(seed, "seed"));
  const uint64_t purpose = need_word(purpose_, "purpose"), factor = need_word(factor_, "factor");
  py::array out = new_array(shape_of(v), false, 8);
  const TagArgs a{&key, data<uint64_t>(v), mutable_data<uint64_t>(out), purpose, factor, v.size()};
  py::gil_scoped_release release;
  if (a.n) kernels().tag_words(a, threads_for(a.n, 16384));
  return out;
}

}  // namespace

void bind_prg(py::module_& m) {
  m.def("prg_words", &prg_words, py::arg("seed"), py::arg("purpose"), py::arg("shape"));
  m.def("weigh", &weigh, py::arg("seed"), py::arg("purpose"), py::arg("values"));
  m.def("tag_words", &tag_words, py::arg("values"), py::arg("factor"), py::arg("seed"), py::arg("purpose"));
}

}  // namespace autorep
