"""What a run computes, in the clear: the fixed-point model that it is tested against, and how far it may be off.

A run differs from exact arithmetic in two ways.

1. *Rounding* of the input and of the server's numbers to their exponents. It is the same in every run and is computed
   exactly: the model on whole numbers against the program on real ones.
2. *Truncation* of every masked wire, by t bits: ``floor(y / 2**t)``, or one more with probability ``(y mod 2**t) /
  2**t``.
   Unbiased, below one unit of 2**-f, independent between elements, and never a wrap. Without a dealer: to the nearest
   of what is off from it by up to one unit (rounding.py). Everything else is exact.

``bound`` follows each step: |W| in place of W; sums add; a truncation of t bits takes an error b to ``b / 2**t + 1``,
and to one more where b is not zero; ReLU, ReLU6 and maxima are 1-Lipschitz; the square takes b to ``2 |x| b + b**2``.
It holds for every draw of the masks, and says little about deep networks; ``simulate`` draws the rounding of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...text import brief
from .plan import Plan, Step
from .ring import decode, encode, narrowed
from .rounding import Rounding
from .server_numbers import Numbers
from .table import OPERATIONS

#: Gets a step and its value as ring elements, and says what to add to it as numbers, if anything.
See = Callable[[Step, np.ndarray], "np.ndarray | None"]


@dataclass
class Expected:
    """Output of the fixed-point model, and a bound on its difference to any run; both in units of the output."""

    output: np.ndarray
    bound: np.ndarray

    __repr__ = brief


def expected(plan: Plan, numbers: dict[str, Numbers], x: np.ndarray, *, nearest: bool = False) -> Expected:
    """Truncation as floor (``nearest``: to the nearest, as without a dealer), with the rigorous bound."""
    values, bounds = _walk(plan, numbers, x, Rounding(nearest))
    return Expected(values, np.ldexp(bounds, -plan.output.frac_bits))


def simulate(
    plan: Plan, numbers: dict[str, Numbers], x: np.ndarray, rng: np.random.Generator, *, nearest: bool = False
) -> np.ndarray:
    """One draw of what a run returns; ``nearest`` as of :func:`expected`."""
    return _walk(plan, numbers, x, Rounding(nearest, rng))[0]


def watch(
    plan: Plan,
    numbers: dict[str, Numbers],
    x: np.ndarray,
    rng: np.random.Generator,
    see: See,
    *,
    nearest: bool = False,
    single: bool = False,
) -> None:
    """:func:`simulate`, and show ``see`` the value of every step, once it is there; it may add to it.

    single: as of :class:`~.rounding.Rounding`.
    """
    _walk(plan, numbers, x, Rounding(nearest, rng, single), see)


def _walk(
    plan: Plan,
    numbers: dict[str, Numbers],
    x: np.ndarray,
    rounding: Rounding,
    see: See = lambda step, value: None,
):
    gone = plan.last_uses()
    values: dict[str, np.ndarray] = {}
    bounds: dict[str, np.ndarray] = {}
    inputs = plan.given(x)
    for step in plan.steps:
        given = [inputs[step.name]] if step.op == "input" else [values[name] for name in step.inputs]
        errors = [bounds[name] for name in step.inputs]
        own = numbers.get(step.name, Numbers())
        values[step.name], bounds[step.name] = OPERATIONS[step.op].simulate(step, given, errors, own, rounding)
        more = see(step, values[step.name])
        if more is not None:
            values[step.name] = values[step.name] + narrowed(encode(more, step.frac_bits), step.width)
        for name in gone.get(step.name, ()):
            del values[name], bounds[name]
    name = plan.output.name
    return decode(values[name], plan.output.frac_bits), bounds[name]
