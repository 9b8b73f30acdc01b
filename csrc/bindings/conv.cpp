#include "bindings/arrays.h"
#include "bindings/parts.h"
#include "ring/convolve.h"

namespace autorep {
namespace {

using Pair = std::pair<int64_t, int64_t>;
constexpr int64_t kMost = int64_t(1) << 40;

std::unique_ptr<PackedWeight> pack_weight(const py::object& weight, Whole groups, Whole weight_bits) {
  // Which ring is the array's own choice: 32-bit elements compute modulo 2^32.
  if (!py::hasattr(weight, "dtype")) bad_type("weight", "expected an array of uint64, int64, uint32 or int32");
  const py::array probe = py::array::ensure(weight);
  if (!probe) throw py::error_already_set();
  const int bytes = probe.itemsize() == 4 ? 4 : 8;
  const py::array w = integers(weight, "weight", bytes);
  if (w.ndim() != 2 && w.ndim() != 4)
    bad_value("weight", "expected shape (outputs, inputs) or (outputs, inputs / groups, height, width), got " +
                            shape_text(shape_of(w)));
  if (w.size() == 0) bad_value("weight", "has no elements, shape " + shape_text(shape_of(w)));
  const bool matrix = w.ndim() == 2;
  need_range(weight_bits, "weight_bits", 16, 64);
  if (weight_bits != 16 && weight_bits != 32 && weight_bits != 64)
    bad_value("weight_bits", "expected 16, 32 or 64, got " + std::to_string(weight_bits));
  need_range(groups, "groups", 1, matrix ? 1 : w.shape(0));
  if (w.shape(0) % groups)
    bad_value("groups", std::to_string(groups) + " does not divide the " + std::to_string(w.shape(0)) + " outputs");
  const ConvShape shape{w.shape(0), w.shape(1), matrix ? 1 : w.shape(2), matrix ? 1 : w.shape(3), groups};
  const int stored = static_cast<int>(std::min<int64_t>(weight_bits / 8, bytes));
  std::unique_ptr<PackedWeight> packed;
  {
    py::gil_scoped_release release;
    packed = PackedWeight::pack(w.data(), shape, matrix, bytes, stored);
  }
  if (!packed)
    bad_value("weight", "an element does not fit into weight_bits = " + std::to_string(weight_bits) + ", signed");
  return packed;
}

// What both products add to, and where they write.
struct Result {
  py::array add, out;
  const void* from = nullptr;  // null without `add`
  void* to;

  Result(const py::object& add_, const py::object& out_, const std::vector<py::ssize_t>& shape, const py::array& x)
      : out(output(out_, shape, x, x.itemsize())) {
    to = out.mutable_data();
    if (!add_.is_none()) {
      add = integers(add_, "add", x.itemsize());
      need_shape(add, "add", shape);
      from = add.data();
    }
    need_apart({{out, "out"}}, {{x, "x"}}, {{add, "add"}});
  }
};

// Checks everything but the elements.
ConvGeometry geometry(const std::vector<py::ssize_t>& shape, const PackedWeight& w, Pair stride, Pair padding,
                      Pair dilation) {
  if (w.is_matrix) bad_value("weight", "is a matrix: use linear");
  const ConvShape& s = w.shape;
  if (shape.size() != 4) bad_value("x", "expected shape (batch, channels, height, width), got " + shape_text(shape));
  if (shape[1] != s.groups * s.inputs_per_group)
    bad_value("x", "expected " + std::to_string(s.groups * s.inputs_per_group) + " channels, got " +
                       std::to_string(shape[1]));
  for (int64_t v : {stride.first, stride.second}) need_range(v, "stride", 1, 1 << 20);
  for (int64_t v : {padding.first, padding.second}) need_range(v, "padding", 0, 1 << 20);
  for (int64_t v : {dilation.first, dilation.second}) need_range(v, "dilation", 1, 1 << 20);
  ConvGeometry g{};
  g.batch = shape[0], g.height = shape[2], g.width = shape[3];
  g.stride_h = stride.first, g.stride_w = stride.second;
  g.padding_h = padding.first, g.padding_w = padding.second;
  g.dilation_h = dilation.first, g.dilation_w = dilation.second;
  const int64_t room_h = g.height + 2 * g.padding_h - g.dilation_h * (s.kernel_h - 1) - 1;
  const int64_t room_w = g.width + 2 * g.padding_w - g.dilation_w * (s.kernel_w - 1) - 1;
  if (room_h < 0 || room_w < 0) bad_value("x", "the kernel reaches over the padded input, shape " + shape_text(shape));
  g.out_h = room_h / g.stride_h + 1, g.out_w = room_w / g.stride_w + 1;
  if ((g.height + 2 * g.padding_h) >
      kMost / std::max<int64_t>(1, (g.width + 2 * g.padding_w) * shape[1] * std::max<int64_t>(1, g.batch)))
    bad_value("padding", "the padded input is too large");
  return g;
}

py::array conv2d(const py::object& input, const PackedWeight& w, Pair stride, Pair padding, Pair dilation,
                 const py::object& add, const py::object& out) {
  const py::array x = integers(input, "x", w.ring_bytes);
  const ConvGeometry g = geometry(shape_of(x), w, stride, padding, dilation);
  const Result result(add, out, {g.batch, w.shape.outputs, g.out_h, g.out_w}, x);
  if (result.out.size()) {
    py::gil_scoped_release release;
    convolve(x.data(), w, g, result.from, result.to);
  }
  return result.out;
}

void prepare_conv2d(const std::vector<py::ssize_t>& shape, const PackedWeight& w, Pair stride, Pair padding,
                    Pair dilation) {
  for (const py::ssize_t n : shape) need_range(n, "x_shape", 0, 1 << 20);
  const ConvGeometry g = geometry(shape, w, stride, padding, dilation);
  py::gil_scoped_release release;
  if (fir_pays(w, g)) w.fir(g.stride_h);
}

py::array linear(const py::object& input, const PackedWeight& w, const py::object& add, const py::object& out) {
  if (!w.is_matrix) bad_value("weight", "is a convolution: use conv2d");
  const py::array x = integers(input, "x", w.ring_bytes);
  if (x.ndim() != 2 || x.shape(1) != w.shape.k())
    bad_value("x", "expected shape (batch, " + std::to_string(w.shape.k()) + "), got " + shape_text(shape_of(x)));
  const Result result(add, out, {x.shape(0), w.shape.outputs}, x);
  if (result.out.size()) {
    py::gil_scoped_release release;
    multiply(x.data(), x.shape(0), w, result.from, result.to);
  }
  return result.out;
}

}  // namespace

void bind_conv(py::module_& m) {
  py::class_<PackedWeight>(m, "PackedWeight");
  m.def("pack_weight", &pack_weight, py::arg("weight"), py::arg("groups"), py::arg("weight_bits"));
  m.def("conv2d", &conv2d, py::arg("x"), py::arg("weight"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
        py::arg("add"), py::arg("out"));
  m.def("prepare_conv2d", &prepare_conv2d, py::arg("x_shape"), py::arg("weight"), py::arg("stride"), py::arg("padding"),
        py::arg("dilation"));
  m.def("linear", &linear, py::arg("x"), py::arg("weight"), py::arg("add"), py::arg("out"));
}

}  // namespace autorep
