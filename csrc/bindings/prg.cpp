#include <string>

#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"
#include "prg/key_schedule.h"

namespace autorep {
namespace {

void run(const RoundKeys& key, const Whole& purpose_, const Whole& offset_, StreamOp op, const uint64_t* a, py::array& out) {
  const uint64_t purpose = need_word(purpose_, "purpose"), offset = need_word(offset_, "offset");
  StreamArgs args{&key, purpose, offset, op, a, mutable_data<uint64_t>(out), out.size()};
  // The counter is 64 bits of blocks; only offsets that no caller reaches could wrap.
  if (uint64_t(args.n) > ~offset) bad_value("offset", "the stream ends at word 2**64");
  py::gil_scoped_release release;
  if (args.n) kernels().stream(args, threads_for(args.n, 16384));
}

py::array prg_words(const py::bytes& seed, Whole purpose, Whole offset, const std::vector<py::ssize_t>& shape,
                    const py::object& out) {
  for (py::ssize_t s : shape)
    if (s < 0) bad_value("shape", "sizes must not be negative, got " + shape_text(shape));
  const RoundKeys key = expand_key(need_16_bytes(seed, "seed"));
  py::array result = output(out, shape, py::array(py::dtype::of<uint64_t>(), 0));
  run(key, purpose, offset, StreamOp::set, nullptr, result);
  return result;
}

template <StreamOp op>
py::array prg_merge(const py::object& a, const py::bytes& seed, Whole purpose, Whole offset, const py::object& out) {
  const RoundKeys key = expand_key(need_16_bytes(seed, "seed"));
  const py::array source = ring64(a, "a");
  py::array result = output(out, shape_of(source), source);
  run(key, purpose, offset, op, data<uint64_t>(source), result);
  return result;
}

}  // namespace

void bind_prg(py::module_& m) {
  m.def("prg_words", &prg_words, py::arg("seed"), py::arg("purpose"), py::arg("offset"), py::arg("shape"),
        py::arg("out") = py::none());
  const auto merge = [&](const char* name, auto function) {
    m.def(name, function, py::arg("a"), py::arg("seed"), py::arg("purpose"), py::arg("offset") = 0,
          py::arg("out") = py::none());
  };
  merge("prg_add", &prg_merge<StreamOp::add>);
  merge("prg_sub", &prg_merge<StreamOp::sub>);
  merge("prg_xor", &prg_merge<StreamOp::exclusive_or>);
}

}  // namespace autorep
