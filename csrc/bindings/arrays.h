// What every binding does before it calls a kernel: turn Python objects into checked, contiguous buffers, with errors
// that name the argument.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <vector>

namespace autorep {
namespace py = pybind11;

[[noreturn]] void bad_value(const std::string& name, const std::string& what);
[[noreturn]] void bad_type(const std::string& name, const std::string& what);

std::string shape_text(const std::vector<py::ssize_t>& shape);
std::vector<py::ssize_t> shape_of(const py::array& a);

// A C-contiguous, native-endian, aligned array of `itemsize`-byte integers (signed or not: the ring is the same). A
// non-contiguous one is copied. Anything with NumPy's array protocol is taken (a CPU torch tensor is not copied).
py::array integers(const py::object& value, const char* name, py::ssize_t itemsize);
inline py::array ring64(const py::object& value, const char* name) { return integers(value, name, 8); }

// Bytes of an element of `value` where it is an array of 32-bit numbers, else those of a word.
int width_of(const py::object& value);

// Numbers of either width, as wide as they are.
inline py::array ring_any(const py::object& value, const char* name) { return integers(value, name, width_of(value)); }

// Raises unless `a` has exactly this shape.
void need_shape(const py::array& a, const char* name, const std::vector<py::ssize_t>& shape);

// A whole number as Python passed it. It is anything until need_range or need_word has looked at it, so that the error
// for a wrong type can name the argument; then it is its value.
struct Whole {
  py::object given;
  int64_t value = 0;
  operator int64_t() const { return value; }
};

// Raises unless low <= value <= high.
void need_range(int64_t value, const char* name, int64_t low, int64_t high);
void need_range(Whole& whole, const char* name, int64_t low, int64_t high);

// How beta, and what is stored like it, is stored: as wide as what else is shared or, where the wire is as wide as
// that, in halves. Raises where it is not, or where the shift is beyond what the widths allow.
int beta_width(const py::object& beta, const char* name, int wire_bytes, int share_bytes, Whole& shift);

// 0 to 2^64 - 1.
uint64_t need_word(const Whole& whole, const char* name);

// The bytes of an AES key or seed, valid as long as `value` is. Raises unless there are 16.
const uint8_t* need_16_bytes(const py::bytes& value, const char* name);

inline bool is_signed(const py::array& a) { return a.dtype().kind() == 'i'; }

// A new array of `itemsize`-byte integers.
py::array new_array(const std::vector<py::ssize_t>& shape, bool with_sign, py::ssize_t itemsize);

// An array that is written where the caller has it: exact shape and size of element, writable, contiguous (never
// copied).
py::array in_place(const py::object& value, const char* name, const std::vector<py::ssize_t>& shape,
                   py::ssize_t itemsize);

// That under the name `out`, or a new array with the signedness of `like` where it is None.
py::array output(const py::object& out, const std::vector<py::ssize_t>& shape, const py::array& like,
                 py::ssize_t itemsize);

// An array, and what the caller calls it.
struct Named {
  py::array array;
  const char* name;
};

// Raises where an array that is written shares memory with another one, written or read: the kernel would read what it
// has just written. Those in `same` are read element by element as the written ones are made, and may each be one of
// those itself. An array that is not given is an empty one; an input that was copied (see integers) shares nothing.
void need_apart(const std::vector<Named>& written, const std::vector<Named>& read, const std::vector<Named>& same = {});

template <class T>
const T* data(const py::array& a) {
  return static_cast<const T*>(a.data());
}
template <class T>
T* mutable_data(py::array& a) {
  return static_cast<T*>(a.mutable_data());
}

}  // namespace autorep

namespace pybind11::detail {
template <>
struct type_caster<autorep::Whole> {
  PYBIND11_TYPE_CASTER(autorep::Whole, const_name("int"));
  bool load(handle source, bool) {
    value.given = reinterpret_borrow<object>(source);
    return true;
  }
};
}  // namespace pybind11::detail
