"""The input, clipped to the published range inside the protocol, so that nobody gets an answer to what lies outside.

A client sends whatever ring element it likes. Before any layer sees it, two comparisons on masked wires clip it:

    a = relu(x - low)    b = relu((high - low) - a)    clipped = high - b

    asked --- .clamp.low (relu of x - low) --- .clamp.left (-a) --- .clamp.high (relu) --- .clamp.down (-b) --- x

Both wires have 32 bits and no truncation, and windows as wide as that, so every element of the ring counts: as a signed
number ``x - low`` may wrap, ``a`` is below 2^31 whatever it is, and no sum behind it wraps. Nothing is rounded: what is
within the range stays what it is. Of a wider ring the second wire's result is, of which nothing above ``high - low`` is
left. Two round trips. The ends are those that a client's own check lets in (``SLACK``), rounded as it rounds its input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import CompileError
from ..plan.input_range import InputRange
from ..plan.plan import SPARE, Plan, Step
from ..plan.ring import U64, WIDTHS, encode
from ..plan.server_numbers import Numbers
from .names import ASKED, CLAMP
from .node import whole_bits

#: Bits of both wires.
_WIRE = WIDTHS[0]


def most_bits(within: InputRange) -> int:
    """Fractional bits that a clamped input may have: its range is an exact truncated value on its wires then. Of
    several inputs, all of them."""
    low, high = within.admitted
    return _WIRE - SPARE - 1 - whole_bits(float((high - low).max(initial=0.0)))


def clamped(plan: Plan, numbers: Mapping[str, Numbers]) -> tuple[Plan, dict[str, Numbers]]:
    """The same plan with its inputs clipped; what read one reads what is left of it, by the same name.

    Raises:
        CompileError: a range is too wide for that.
    """
    first, behind, found = [], [], {}
    for step in plan.inputs:
        (asked, *steps), constants = _clipped(step)
        first.append(asked)
        behind.append(steps)
        found |= constants
    # Side by side, so that what is said of one waits for nothing of another.
    between = [step for row in zip(*behind) for step in row]
    steps = (*first, *between, *plan.steps[len(first) :])
    return replace(plan, steps=steps), {**found, **numbers}


def _clipped(asked: Step) -> tuple[list[Step], dict[str, Numbers]]:
    """The steps of one input, and the server's numbers for them."""
    name, exponent, within = asked.name, asked.frac_bits, InputRange.of_step(asked)
    if exponent > most_bits(within):
        raise CompileError(f"an input range of {within.low.min():.4g} to {within.high.max():.4g} is too wide to be "
                           f"clipped to; give a narrower input_range, or clamp=False")  # fmt: skip
    shape = (-1, *(1,) * (len(asked.shape) - 1)) if asked.shape else ()
    low, high = (encode(end, exponent).reshape(shape) for end in within.admitted)
    names = [name + ASKED, *(f"{name}{CLAMP}.{part}" for part in ("low", "left", "high", "down")), name]
    compared = _compared(asked)
    kinds: list[tuple[str, int, dict[str, Any]]] = [
        ("activation", _WIRE, compared),
        ("local", _WIRE, _NEGATED),
        ("activation", asked.width, compared),
        ("local", asked.width, _NEGATED),
        ("constant", asked.width, {}),
    ]
    steps = [replace(asked, name=names[0], width=_WIRE)]
    for (op, width, attrs), before, after in zip(kinds, names, names[1:]):
        steps.append(Step(after, op, (before,), asked.shape, exponent, width, attrs))
    added = {names[1]: U64(0) - low, names[3]: high - low, names[5]: high}
    found = {step: Numbers(constant=np.ascontiguousarray(constant)) for step, constant in added.items()}
    return steps, found


def is_clamped(plan: Plan) -> bool:
    """Whether a plan clips its input."""
    return plan.input.name.endswith(ASKED)


def clips(name: str) -> bool:
    """Whether a step of that name is part of what does."""
    return CLAMP in name


_NEGATED: dict[str, Any] = {"kind": "times", "factor": -1, "up": 0, "shifts": (0,)}


def _compared(asked: Step) -> dict[str, Any]:
    """A ReLU of all positions, of whatever may be on its wire."""
    return {"kind": "relu", "wire": _WIRE, "shift": 0, "align": 0, "powers": 0, "kept": np.arange(asked.size),
            "linear": None, "comparison": "fss", "window": _WIRE}  # fmt: skip
