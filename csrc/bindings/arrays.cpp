#include "bindings/arrays.h"

namespace autorep {

void bad_value(const std::string& name, const std::string& what) { throw py::value_error(name + ": " + what); }
void bad_type(const std::string& name, const std::string& what) { throw py::type_error(name + ": " + what); }

std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::string s = "(";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + (shape.size() == 1 ? ",)" : ")");
}

std::vector<py::ssize_t> shape_of(const py::array& a) { return {a.shape(), a.shape() + a.ndim()}; }

static bool is_ring(const py::array& a, py::ssize_t itemsize) {
  const char kind = a.dtype().kind();
  const char order = a.dtype().byteorder();
  return (kind == 'u' || kind == 'i') && a.itemsize() == itemsize && (order == '=' || order == '|');
}

py::array integers(const py::object& value, const char* name, py::ssize_t itemsize) {
  const std::string bits = std::to_string(8 * itemsize);
  if (value.is_none()) bad_type(name, "expected an array of uint" + bits + " or int" + bits + ", got None");
  const bool array_like = py::isinstance<py::array>(value) || py::hasattr(value, "__array__");
  if (!array_like)
    bad_type(name, "expected an array of uint" + bits + " or int" + bits + ", got " +
                       std::string(py::str(py::type::of(value).attr("__name__"))));
  py::array a = py::array::ensure(value);
  if (!a) {
    PyErr_Clear();
    bad_type(name, "cannot be read as an array (is it on the CPU and detached?)");
  }
  if (!is_ring(a, itemsize))
    bad_type(name, "expected native uint" + bits + " or int" + bits + ", got dtype " + std::string(py::str(a.dtype())));
  py::array c = py::array::ensure(a, py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_);
  if (!c) throw py::error_already_set();
  return c;
}

int width_of(const py::object& value) {
  if (!py::hasattr(value, "dtype") || !py::hasattr(value, "itemsize")) return 8;
  const py::object size = value.attr("itemsize");
  return py::isinstance<py::int_>(size) && size.cast<int64_t>() == 4 ? 4 : 8;
}

void need_shape(const py::array& a, const char* name, const std::vector<py::ssize_t>& shape) {
  if (shape_of(a) != shape) bad_value(name, "expected shape " + shape_text(shape) + ", got " + shape_text(shape_of(a)));
}

void need_range(int64_t value, const char* name, int64_t low, int64_t high) {
  if (value < low || value > high)
    bad_value(name,
              "expected " + std::to_string(low) + " to " + std::to_string(high) + ", got " + std::to_string(value));
}

static py::object index_of(const Whole& whole, const char* name) {
  PyObject* index = PyNumber_Index(whole.given.ptr());
  if (!index) {
    PyErr_Clear();
    bad_type(name, "expected a whole number, got " + std::string(py::str(py::type::of(whole.given).attr("__name__"))));
  }
  return py::reinterpret_steal<py::object>(index);
}

void need_range(Whole& whole, const char* name, int64_t low, int64_t high) {
  const py::object index = index_of(whole, name);
  int overflow = 0;
  whole.value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow) whole.value = overflow > 0 ? INT64_MAX : INT64_MIN;
  need_range(whole.value, name, low, high);
}

int beta_width(const py::object& beta, const char* name, int wire_bytes, int share_bytes, Whole& shift) {
  int bytes = share_bytes;
  if (!beta.is_none() && py::hasattr(beta, "itemsize")) {
    const py::object size = beta.attr("itemsize");
    const bool half = py::isinstance<py::int_>(size) && 2 * size.cast<int64_t>() == share_bytes;
    if (half && wire_bytes != share_bytes)
      bad_type(name, "high halves are for a wire as wide as the shares; expected an array of uint" +
                         std::to_string(8 * share_bytes) + " or int" + std::to_string(8 * share_bytes));
    if (half) bytes = share_bytes / 2;
  }
  need_range(shift, "shift", 0, bytes < share_bytes ? 8 * bytes : 8 * wire_bytes - 2);
  return bytes;
}

uint64_t need_word(const Whole& whole, const char* name) {
  const py::object index = index_of(whole, name);
  const uint64_t word = PyLong_AsUnsignedLongLong(index.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    bad_value(name, "expected 0 to 2**64 - 1, got " + std::string(py::str(index)));
  }
  return word;
}

const uint8_t* need_16_bytes(const py::bytes& value, const char* name) {
  const Py_ssize_t size = PyBytes_GET_SIZE(value.ptr());
  if (size != 16) bad_value(name, "expected 16 bytes, got " + std::to_string(size));
  return reinterpret_cast<const uint8_t*>(PyBytes_AS_STRING(value.ptr()));
}

py::array new_array(const std::vector<py::ssize_t>& shape, bool with_sign, py::ssize_t itemsize) {
  return py::array(py::dtype((with_sign ? "i" : "u") + std::to_string(itemsize)), shape);
}

py::array in_place(const py::object& value, const char* name, const std::vector<py::ssize_t>& shape,
                   py::ssize_t itemsize) {
  if (!py::isinstance<py::array>(value)) bad_type(name, "expected a NumPy array");
  py::array a = py::reinterpret_borrow<py::array>(value);
  if (!is_ring(a, itemsize)) {
    const std::string bits = std::to_string(8 * itemsize);
    bad_type(name, "expected native uint" + bits + " or int" + bits + ", got dtype " + std::string(py::str(a.dtype())));
  }
  need_shape(a, name, shape);
  const int good = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((a.flags() & good) != good || !a.writeable()) bad_value(name, "must be C-contiguous, aligned and writable");
  return a;
}

py::array output(const py::object& out, const std::vector<py::ssize_t>& shape, const py::array& like,
                 py::ssize_t itemsize) {
  return out.is_none() ? new_array(shape, is_signed(like), itemsize) : in_place(out, "out", shape, itemsize);
}

static bool overlap(const py::array& a, const py::array& b) {
  const auto *first = static_cast<const char*>(a.data()), *second = static_cast<const char*>(b.data());
  return a.nbytes() && b.nbytes() && first < second + b.nbytes() && second < first + a.nbytes();
}

void need_apart(const std::vector<Named>& written, const std::vector<Named>& read, const std::vector<Named>& same) {
  const auto refuse = [](const Named& a, const Named& b) {
    if (overlap(a.array, b.array)) bad_value(a.name, std::string("must not overlap ") + b.name);
  };
  for (size_t i = 0; i < written.size(); ++i) {
    const Named& w = written[i];
    for (size_t j = i + 1; j < written.size(); ++j) refuse(w, written[j]);
    for (const Named& r : read) refuse(w, r);
    for (const Named& s : same) {
      const bool itself = w.array.data() == s.array.data() && w.array.nbytes() == s.array.nbytes();
      if (!itself && overlap(w.array, s.array))
        bad_value(w.name, std::string("may be ") + s.name + ", but not overlap it in part");
    }
  }
}

}  // namespace autorep
