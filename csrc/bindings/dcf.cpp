#include <cstring>

#include "bindings/arrays.h"
#include "bindings/dcf_key.h"
#include "bindings/parts.h"
#include "cpu/dispatch.h"
#include "cpu/threads.h"

namespace autorep {

// Values of 64 bits may come with tags.
static int64_t most_payloads(int word_bytes) { return word_bytes == 8 ? 6 : 3; }

static int64_t last_block(int64_t n) { return (n + kDcfBlock - 1) / kDcfBlock - 1; }

DcfKey read_dcf_key(const py::object& value, const char* name) {
  DcfKey k{ring64(value, name), {}, {}, 0};
  if (k.array.ndim() != 1 || k.array.size() < kDcfHeaderWords)
    bad_value(name, "not a comparison key: expected one dimension and at least 8 words, got shape " +
                        shape_text(shape_of(k.array)));
  const uint64_t* h = data<uint64_t>(k.array);
  if (h[0] != kDcfFormat) bad_value(name, "not a comparison key, or one of another version");
  const uint64_t bytes = h[kDcfPayloadWord];
  if (h[1] < 1 || h[1] > 63 || h[3] > (uint64_t(1) << 40) || (bytes != 4 && bytes != 8) || h[2] < 1 ||
      h[2] > uint64_t(most_payloads(static_cast<int>(bytes))))
    bad_value(name, "the header is damaged");
  k.layout = dcf_layout(static_cast<int>(h[1]), static_cast<int>(h[2]), static_cast<int>(bytes));
  k.n = static_cast<int64_t>(h[3]);
  if (h[4] != static_cast<uint64_t>(k.array.size()) || k.array.size() != dcf_words(k.layout, k.n))
    bad_value(name, "wrong length: " + std::to_string(k.n) + " elements take " +
                        std::to_string(dcf_words(k.layout, k.n)) + " words, got " + std::to_string(k.array.size()));
  k.hash_key = expand_key(reinterpret_cast<const uint8_t*>(h + kDcfHashKeyWord));
  return k;
}

DcfEvalArgs eval_args(const DcfKey& key, const py::array& root, const py::array& x, py::array& out, int party) {
  DcfEvalArgs a{};
  a.layout = &key.layout, a.key = &key.hash_key, a.blocks = data<uint64_t>(key.array) + kDcfHeaderWords;
  a.roots = data<uint64_t>(root), a.x = data<uint64_t>(x), a.out = out.mutable_data();
  a.n = key.n, a.last_block = last_block(key.n), a.party = party;
  return a;
}

void need_below(const py::array& a, const char* name, int bits) {
  uint64_t all = 0;
  const uint64_t* p = data<uint64_t>(a);
  for (py::ssize_t i = 0; i < a.size(); ++i) all |= p[i];
  if (all >> bits) bad_value(name, "an element does not fit into " + std::to_string(bits) + " bits");
}

namespace {

py::array gen(const py::object& alpha, const py::object& payload, const py::object& root0, const py::object& root1,
              const py::bytes& hash_key, Whole bits) {
  need_range(bits, "bits", 1, 63);
  const py::array al = ring64(alpha, "alpha"), pay = ring_any(payload, "payload");
  const py::array r0 = ring64(root0, "root0"), r1 = ring64(root1, "root1");
  if (al.ndim() != 1) bad_value("alpha", "expected one dimension, got shape " + shape_text(shape_of(al)));
  const py::ssize_t n = al.size();
  const int64_t most = most_payloads(static_cast<int>(pay.itemsize()));
  if (pay.ndim() != 2 || pay.shape(0) != n || pay.shape(1) < 1 || pay.shape(1) > most)
    bad_value("payload", "expected shape (" + std::to_string(n) + ", 1 to " + std::to_string(most) + "), got " +
                             shape_text(shape_of(pay)));
  need_shape(r0, "root0", {n, 2});
  need_shape(r1, "root1", {n, 2});
  need_below(al, "alpha", static_cast<int>(bits));
  const uint8_t* aes_key = need_16_bytes(hash_key, "hash_key");
  const DcfLayout layout =
      dcf_layout(static_cast<int>(bits), static_cast<int>(pay.shape(1)), static_cast<int>(pay.itemsize()));
  const int64_t words = dcf_words(layout, n);
  py::array key = new_array({words}, false, 8);
  auto* to = mutable_data<uint64_t>(key);
  uint64_t header[kDcfHeaderWords] = {kDcfFormat, uint64_t(bits), uint64_t(layout.payloads), uint64_t(n),
                                      uint64_t(words)};
  header[kDcfPayloadWord] = uint64_t(layout.word_bytes);
  std::memcpy(header + kDcfHashKeyWord, aes_key, 16);
  std::memcpy(to, header, sizeof header);
  const RoundKeys round_keys = expand_key(aes_key);
  DcfGenArgs a{};
  a.layout = &layout, a.key = &round_keys, a.alpha = data<uint64_t>(al), a.payload = pay.data();
  a.roots[0] = data<uint64_t>(r0), a.roots[1] = data<uint64_t>(r1);
  a.blocks = to + kDcfHeaderWords, a.n = n, a.last_block = last_block(n);
  {
    py::gil_scoped_release release;
    if (n) kernels().gen_dcf(a, threads_for(n, 256));
  }
  return key;
}

py::array eval(const py::object& key, const py::object& root, const py::object& x, Whole party) {
  const DcfKey k = read_dcf_key(key, "key");
  const py::array r = ring64(root, "root"), points = ring64(x, "x");
  need_shape(r, "root", {k.n, 2});
  need_shape(points, "x", {k.n});
  need_range(party, "party", 0, 1);
  need_below(points, "x", k.layout.bits);
  py::array result = new_array({k.n, k.layout.payloads}, false, k.layout.word_bytes);
  const DcfEvalArgs a = eval_args(k, r, points, result, static_cast<int>(party));
  py::gil_scoped_release release;
  if (k.n) kernels().eval_dcf(a, threads_for(k.n, 512));
  return result;
}

}  // namespace

void bind_dcf(py::module_& m) {
  m.def("gen_dcf", &gen, py::arg("alpha"), py::arg("payload"), py::arg("root0"), py::arg("root1"), py::arg("hash_key"),
        py::arg("bits"));
  m.def("eval_dcf", &eval, py::arg("key"), py::arg("root"), py::arg("x"), py::arg("party"));
  m.def("dcf_words", [](Whole n, Whole bits, Whole payloads, Whole payload_bits) {
    need_range(n, "n", 0, int64_t(1) << 40);
    need_range(bits, "bits", 1, 63);
    need_range(payload_bits, "payload_bits", 32, 64);
    if (payload_bits != 32 && payload_bits != 64)
      bad_value("payload_bits", "expected 32 or 64, got " + std::to_string(payload_bits));
    need_range(payloads, "payloads", 1, most_payloads(static_cast<int>(payload_bits) / 8));
    return dcf_words(dcf_layout(static_cast<int>(bits), static_cast<int>(payloads), static_cast<int>(payload_bits) / 8),
                     n);
  });
}

}  // namespace autorep
