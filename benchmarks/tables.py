"""Tables in Markdown of what was measured; those of docs/kernels.md are printed at the end of `make bench`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

_UNITS = {
    "GB/s": lambda seconds, info: info["bytes"] / seconds / 1e9,
    "M/s": lambda seconds, info: info["n"] / seconds / 1e6,
    "ns": lambda seconds, info: seconds / info["n"] * 1e9,
}

# What is told of each kernel: name, its test with a place for the row, unit.
_KERNELS = [
    ("activation step, GB/s moved", "test_activation[{}-1048576]", "GB/s"),
    ("`beaver_square`, GB/s moved", "test_beaver_square[{}-1048576]", "GB/s"),
    ("`gen_dcf`, 19 bits, 3 payloads, M/s (2^14)", "test_dcf[19-3-gen-{}-16384]", "M/s"),
    ("`eval_dcf`, the same", "test_dcf[19-3-eval-{}-16384]", "M/s"),
    ("`relu_fss`, M/s (2^16)", "test_relu_fss[{}-65536]", "M/s"),
    ("bit-sliced sign, 20 bits, M/s (2^16)", "test_sign[{}-65536]", "M/s"),
    ("`select`, ns an element (2^16)", "test_select[{}-65536]", "ns"),
    ("OT extension, k = 4, `vole_receive`, ns an OT (2^16)", "test_extension[receive-4-{}]", "ns"),
    ("the same, `vole_send`", "test_extension[send-4-{}]", "ns"),
    ("Ferret, `trees_full`, ns an OT (2^16)", "test_ferret[trees_full-{}]", "ns"),
    ("`trees_lacking`, the same", "test_ferret[trees_lacking-{}]", "ns"),
    ("`block_fold`, the same", "test_ferret[block_fold-{}]", "ns"),
    ("`lpn_`, the same", "test_ferret[lpn_-{}]", "ns"),
    ("`ot_bits`, ns an OT (2^16)", "test_ot_bits[{}]", "ns"),
    ("`ot_send`, 17 bits, the same", "test_strings[send-17-{}]", "ns"),
    ("`ot_receive`, 17 bits, the same", "test_strings[receive-17-{}]", "ns"),
    ("`prg_words`, GB/s", "test_prg[{}-1048576]", "GB/s"),
]
_ROWS = ["avx512", "avx2", "portable", "torch int64", "numpy", "memory copy"]
_CONV_ROWS = [f"{t} w{b}" for t in _ROWS[:3] for b in (64, 16)] + ["avx512 ring32", "torch fp32", "torch int64"]


def lines(results):
    """results: {test name: (median seconds, extra_info, fastest)}. Yields the tables' lines, of what was measured."""
    yield from table("billions of multiply-adds a second", _CONV_ROWS, _convolutions(results))
    yield from table("2^20 elements, unless it says otherwise", _ROWS, _kernels(results))


def _kernels(results):
    for name, test, unit in _KERNELS:
        found = {row: results[test.format(row)] for row in _ROWS if test.format(row) in results}
        yield name, {row: _UNITS[unit](seconds, info) for row, (seconds, info, _) in found.items()}


def _convolutions(results):
    layers: dict[str, dict[str, tuple[float, dict]]] = {}
    for test, (seconds, info, _) in results.items():
        if match := re.fullmatch(r"test_conv\[(.+)-(\d+)to(\d+)_(\d+)x(\d)s(\d)\]", test):
            row, i, o, size, kernel, stride = match.groups()
            layer = f"{info['per_network']} x {i} to {o}, {size}x{size}, {kernel}x{kernel} / {stride}"
            layers.setdefault(layer, {})[row] = seconds, info
    for layer, found in layers.items():
        yield layer, {row: info["n"] / seconds / 1e9 for row, (seconds, info) in found.items()}
    whole = {
        row: sum(found[row][0] * found[row][1]["per_network"] for found in layers.values()) * 1e3
        for row in _CONV_ROWS
        if layers and all(row in found for found in layers.values())
    }
    yield "all, milliseconds", whole


def table(title: str, columns: Sequence[str], rows: Iterable[tuple[str, Mapping[str, float | str]]]) -> Iterator[str]:
    """The lines of a table: named rows of cells by column. Rows and columns without a cell are left out, and nothing is
    left of a table that has none."""
    rows = [(name, cells) for name, cells in rows if cells]
    columns = [c for c in columns if any(c in cells for _, cells in rows)]
    if not columns:
        return
    yield f"| {title} | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, cells in rows:
        yield f"| {name} | " + " | ".join(_cell(cells[c]) if c in cells else "" for c in columns) + " |"
    yield ""


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
