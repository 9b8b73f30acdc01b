"""A program made ready for the ring: every step with its exponent, and what each party needs of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...text import brief, shape, shapes, table
from ..program.step_json import digest, to_json

#: Changes whenever a plan means something else or a message looks different.
VERSION = 5

#: How a step's kept activations may be compared: by keys; by a tree of AND gates; splines whose knots lie on a grid by
#: a tree of the bits below it and tables.
COMPARISONS = ("fss", "gmw", "table")

#: How those of a plan may be: all by keys, all by trees, or each as it takes least where messages are quick.
VARIANTS = ("fss", "gmw", "mixed")

#: Positions up to which keys take less than the messages of a tree, where they are not evaluated at more levels of all
#: knots than that.
_FEW, _FEW_LEVELS = 1 << 10, 1 << 17

#: How they are where the client's messages are checked: by what a dealer can put its key into.
CHECKED = "fss"

#: |y| of a masked wire must stay below 2**(width - SPARE) ring units for its truncation to be exact.
SPARE = 2


@dataclass(frozen=True)
class Step:
    """One operation of all parties.

    It has one of few forms: the "input", a "map" (private weights), "local" (public, linear), a "constant", or it is
    ``masked``: it reads masked wires, and its result is shared; of these the "output" is the client's.

    Attributes:
        name: unique; the result's name.
        op: what it does, an operation of table.py.
        inputs: names of earlier results.
        shape: shape of the result without the batch.
        frac_bits: exponent of the result.
        width: bits of the ring that the result is in, 64 or 32; no wider than any input's, unless this is where a
            masked wire ends: then ``attrs["wire"]`` are the bits of that wire's ring, no wider than the input's.
        attrs: public parameters: numbers, tuples, strings, slices, tables, and NumPy arrays of positions
            (int64, increasing) or of a bool for each element.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    frac_bits: int
    width: int
    attrs: dict[str, Any] = field(default_factory=dict)

    __repr__ = brief

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def lifts(self) -> np.ndarray:
        """Bits by which the result of each kept position is shifted up, (K,), where some are (fold_squares.py)."""
        return np.array(self.attrs["lifts"])[self.attrs["kept"] // (self.size // self.shape[0])]

    @cached_property
    def lifted(self) -> Step:
        """The same with its result in a ring of 64 bits; see :attr:`Plan.lifted`."""
        return replace(self, width=64)

    @property
    def masked(self) -> bool:
        """Whether what it reads is opened under masks: then the server sends it, and the result is shared."""
        return "wire" in self.attrs

    @property
    def answered(self) -> bool:
        """Whether the client sends its share of the result, blinded, to the server."""
        return self.masked and self.op != "output"

    @property
    def sent(self) -> bool:
        """Whether there is a message of its elements: the blinded input, or masked wires."""
        return self.masked or self.op == "input"

    @property
    def wires(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of a sample on its masked wires, one for each input; several are sent as one message."""
        return tuple(self.attrs[name] for name in ("first", "second") if name in self.attrs) or (self.shape,)

    @property
    def wire_shape(self) -> tuple[int, ...]:
        """Shape of a sample in the message: the wire's, flat where there are several."""
        return self.wires[0] if len(self.wires) == 1 else (self.wire_size,)

    @property
    def wire_size(self) -> int:
        """Elements of a sample in the message."""
        return sum(math.prod(shape) for shape in self.wires)


@dataclass(frozen=True)
class Plan:
    """What client, server and dealer all know: the steps, shapes, kept positions, exponents, windows and comparisons.

    ``print(plan)`` shows each step with its ring's width (of its masked wire > of its result), wire form, messages and
    bits.

    Attributes:
        checked: whether the server checks the client's messages before it gives its half of the output (tags.py); such
            a plan has rings of 32 bits alone, and compares by keys.
    """

    steps: tuple[Step, ...]
    checked: bool = False

    @cached_property
    def lifted(self) -> Plan:
        """The same with every result in a ring of 64 bits, as the client of a checked plan computes it: numbers whose
        low bits are what the plan says."""
        return replace(self, steps=tuple(step.lifted for step in self.steps))

    @cached_property
    def mapped(self) -> frozenset[str]:
        """Results that a map is computed from, at once or through public steps: what blinds them enters its ``E B``."""
        found: set[str] = set()
        for step in reversed(self.steps):
            if step.op == "map" or step.op in ("local", "constant") and step.name in found:
                found.update(step.inputs)
        return frozenset(found)

    @property
    def input(self) -> Step:
        """The first, or the only one."""
        return self.steps[0]

    @cached_property
    def inputs(self) -> tuple[Step, ...]:
        """Each is a message of its own; they begin the plan, and go out one behind the other."""
        return tuple(step for step in self.steps if step.op == "input")

    def given(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The inputs of a batch by the names of their steps: of several, rows (N, P) are taken apart."""
        if len(self.inputs) == 1:
            return {self.input.name: x}
        ends = np.cumsum([step.size for step in self.inputs])[:-1]
        parts = zip(self.inputs, np.split(x.reshape(len(x), -1), ends, 1))
        return {step.name: part.reshape(len(x), *step.shape) for step, part in parts}

    @property
    def output(self) -> Step:
        return self.steps[-1]

    def readers(self) -> dict[str, int]:
        """How many steps read each value."""
        count = {step.name: 0 for step in self.steps}
        for step in self.steps:
            for name in step.inputs:
                count[name] += 1
        return count

    def last_uses(self) -> dict[str, list[str]]:
        """Step name -> values that nobody reads after it."""
        reader = {name: step.name for step in self.steps for name in step.inputs}
        gone: dict[str, list[str]] = {}
        for name, step in reader.items():
            gone.setdefault(step, []).append(name)
        return gone

    def with_comparison(self, comparison: str) -> Plan:
        """The same plan in a variant: every kept activation compared by ``fss``, by ``gmw``, or ``mixed``: few
        positions by keys, splines by tables where they can be, and all else by trees.

        Raises:
            ValueError: the plan is checked, and this cannot be.
        """
        if self.checked and comparison != CHECKED:
            raise ValueError(
                f"comparison={comparison!r}: a checked program compares by {CHECKED!r}, by keys into which the dealer "
                "puts what the client's messages are checked with"
            )

        steps = (
            replace(s, attrs={**s.attrs, "comparison": _mixed(s) if comparison == "mixed" else comparison})
            if s.attrs.get("comparison")
            else s
            for s in self.steps
        )
        return replace(self, steps=tuple(steps))

    @property
    def variant(self) -> str | None:
        """In which one it is; None where nothing is compared."""
        found = {step.attrs["comparison"] for step in self.steps if step.attrs.get("comparison")}
        if not found:
            return None
        return found.pop() if len(found) == 1 and "table" not in found else "mixed"

    def digest(self) -> bytes:
        """16 bytes that two parties compare before they start: of the one text that says everything in the plan."""
        said = [VERSION, *(["checked"] if self.checked else []), *(to_json(step) for step in self.steps)]
        return digest(said)[:16]

    def __repr__(self) -> str:
        checked = ", checked" if self.checked else ""
        inputs = shapes((step.shape for step in self.inputs), "N")
        return f"Plan({len(self.steps)} steps, {inputs} -> {shape(self.output.shape, 'N')}{checked})"

    def __str__(self) -> str:
        rows = [("step", "op", "inputs", "shape", "width", "frac_bits", "wire", "messages", "public")]
        for s in self.steps:
            attrs = " ".join(f"{k}={_short(v)}" for k, v in s.attrs.items() if k != "wire")
            width = str(s.width) if s.attrs.get("wire", s.width) == s.width else f"{s.attrs['wire']} > {s.width}"
            op = s.op if s.masked else s.attrs.get("kind", s.op)
            first = (s.name, op, " ".join(s.inputs), shape(s.shape, "N"))
            rows.append((*first, width, str(s.frac_bits), *_wire(s), attrs))
        return table(rows)


def _mixed(step: Step) -> str:
    a, kept = step.attrs, len(step.attrs["kept"])
    if kept <= _FEW and kept * len(a.get("knots", (0,))) * a["window"] <= _FEW_LEVELS:
        return "fss"
    return "table" if "grid" in a else "gmw"


def node_of(step: str) -> str:
    """The node of the graph that a step is of: what is made of one node bears its name, and more behind a dot."""
    return step.partition(".")[0]


def _wire(step: Step) -> tuple[str, str]:
    if not step.masked:
        return "blinded", "C>S" if step.sent else ""
    if not step.answered:
        return "masked > client", "S>C"
    wires = f"{len(step.wires)} masked" if len(step.wires) > 1 else "masked"
    trees = {"gmw": " + borrow tree", "table": " + borrow tree + tables"}
    extra = trees.get(step.attrs.get("comparison"), "")
    extra += " + opening" if "knots" in step.attrs else ""
    return f"{wires} > shared > blinded", f"S>C{extra}, C>S"


def _short(value: Any) -> str:
    return f"<{value.size}>" if isinstance(value, np.ndarray) else str(value).replace(" ", "")
