"""What there is to know of one operation of a plan: its record. Whoever walks the steps asks it, and names none.

A step has one of a few forms. What depends on the form alone is told from the step itself (``Step.masked``, ``wires``
and so on), so that records hold what is an operation's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...text import brief
from ..program.checks import Rule
from .plan import Step
from .rounding import Rounding
from .server_numbers import Numbers

#: Names, shapes and types of the arrays that are shared for a step.
Arrays = dict[str, tuple[tuple[int, ...], type]]

#: Ring elements, and how far a run may be off from them, in units.
Simulated = tuple[np.ndarray, np.ndarray]

#: Gets a step, the values of its inputs and their bounds, the server's numbers, and how bits are dropped (without draws
#: the bound is wanted).
Simulate = Callable[[Step, list[np.ndarray], list[np.ndarray], Numbers, Rounding], Simulated]


def _largest(step: Step, given: list[int]) -> int:
    return max(given)


def _wire(step: Step, is_site: bool) -> str:
    return f"{step.op}, {step.attrs.get('wire', step.width)}-bit wire"


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        rules: what its steps look like, by kind (``attrs["kind"]``); under None, whatever their kind is.
        simulate: what it computes in the clear, as a run does (simulate.py); the input gets numbers for ring elements.
        exponent: of the result, from those of the inputs; raises FormatError where attributes say something else.
        arrays: of a masked step: which are shared for it, for a batch of so many.
        constant: whether the server has a constant for it: it "must" or "may" have one, or "none".
        shown: in a few words how it is computed, of a site or of none; None: nobody asks.
    """

    rules: Mapping[str | None, Rule]
    simulate: Simulate = field(repr=False)
    exponent: Callable[[Step, list[int]], int] = field(default=_largest, repr=False)
    arrays: Callable[[Step, int], Arrays] | None = field(default=None, repr=False)
    constant: str = "none"
    shown: Callable[[Step, bool], str] | None = field(default=_wire, repr=False)

    __repr__ = brief

    @property
    def masked(self) -> bool:
        """Whether its steps end masked wires."""
        return self.arrays is not None
