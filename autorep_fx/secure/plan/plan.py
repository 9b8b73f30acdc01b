"""A program made ready for the ring: every step with its exponent, and what each party needs of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...text import brief, shape, table
from ..program.step_json import digest, to_json

#: Changes whenever a plan means something else or a message looks different.
VERSION = 4

#: How kept activations may be compared: by keys, or by a tree of AND gates.
COMPARISONS = ("fss", "gmw")

#: |y| of a masked wire must stay below 2**(width - SPARE) ring units for its truncation to be exact.
SPARE = 2


@dataclass(frozen=True)
class Step:
    """One operation of all three parties.

    Attributes:
        name: unique; the result's name.
        op: "input", "map" (private weights), "local" (public, linear), "constant", "activation", "product" (of two
            private values) or "output".
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
        return int(np.prod(self.shape, dtype=np.int64))

    @cached_property
    def lifts(self) -> np.ndarray:
        """Bits by which the result of each kept position is shifted up, (K,), where some are (fold_squares.py)."""
        return np.array(self.attrs["lifts"])[self.attrs["kept"] // (self.size // self.shape[0])]

    @property
    def wire_size(self) -> int:
        """Elements of a sample on the masked wire; a product has two wires, sent as one."""
        if self.op != "product":
            return self.size
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in (self.attrs["first"], self.attrs["second"]))


@dataclass(frozen=True)
class Plan:
    """What client, server and dealer all know: the steps, shapes, kept positions, exponents, windows and comparisons.

    ``print(plan)`` shows each step with its ring's width (of its masked wire > of its result), wire form, messages and
    bits.
    """

    steps: tuple[Step, ...]

    @property
    def input(self) -> Step:
        return self.steps[0]

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
        """The same plan with every kept activation compared by ``fss`` or by ``gmw``."""
        steps = (
            replace(s, attrs={**s.attrs, "comparison": comparison}) if s.attrs.get("comparison") else s
            for s in self.steps
        )
        return Plan(tuple(steps))

    def digest(self) -> bytes:
        """16 bytes that two parties compare before they start: of the one text that says everything in the plan."""
        return digest([VERSION, *(to_json(step) for step in self.steps)])[:16]

    def __repr__(self) -> str:
        return f"Plan({len(self.steps)} steps, {shape(self.input.shape, 'N')} -> {shape(self.output.shape, 'N')})"

    def __str__(self) -> str:
        rows = [("step", "op", "inputs", "shape", "width", "frac_bits", "wire", "messages", "public")]
        for s in self.steps:
            attrs = " ".join(f"{k}={_short(v)}" for k, v in s.attrs.items() if k != "wire")
            width = str(s.width) if s.attrs.get("wire", s.width) == s.width else f"{s.attrs['wire']} > {s.width}"
            op = s.attrs.get("kind", s.op) if s.op in ("map", "local") else s.op
            first = (s.name, op, " ".join(s.inputs), shape(s.shape, "N"))
            rows.append((*first, width, str(s.frac_bits), *_wire(s), attrs))
        return table(rows)


def node_of(step: str) -> str:
    """The node of the graph that a step is of: what is made of one node bears its name, and more behind a dot."""
    return step.partition(".")[0]


def _wire(step: Step) -> tuple[str, str]:
    if step.op == "activation":
        extra = " + borrow tree" if step.attrs["comparison"] == "gmw" else ""
        extra += " + opening" if "knots" in step.attrs else ""
        return "masked > shared > blinded", f"S>C{extra}, C>S"
    if step.op == "product":
        return "2 masked > shared > blinded", "S>C, C>S"
    return {"input": ("blinded", "C>S"), "output": ("masked > client", "S>C")}.get(step.op, ("blinded", ""))


def _short(value: Any) -> str:
    return f"<{value.size}>" if isinstance(value, np.ndarray) else str(value).replace(" ", "")
