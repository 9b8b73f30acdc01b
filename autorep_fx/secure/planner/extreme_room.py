"""Room for inputs that are made to leave it: as much as costs little, or all that was found, whatever it costs.

Windows get all of it at once, where the ring has the bits: each takes a few levels more of comparison keys. In the
rings it takes bits that precision may need, wider wires or truncations. So a plan is made for what plain inputs reach,
and one for what extreme inputs reach, at first for six bits more; then for less, until it takes hardly longer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...errors import CompileError
from ...text import brief
from ..cost.cost import plan_cost
from ..link.network import Network
from ..plan.input_range import InputRange
from ..plan.plan import COMPARISONS, Plan
from ..program.program import Program
from ..rates import Rates
from .ascents import ascents
from .node import Margins
from .precise import Found
from .precision import Precision
from .ranges import ROUNDED, worst_case
from .reach import Reach

log = logging.getLogger(__name__)

#: How many bits of the rings more than plain inputs take are tried, in this order; and the most, whatever it costs.
_BITS, MOST = (6, 3, 1), 16

#: Whether a plan may be taken.
Allowed = Callable[[Plan], bool]

#: Part of the predicted online time that room for extreme inputs may take.
_SHARE = 0.04


@dataclass(frozen=True)
class Extremes:
    """What inputs reach that are made for it.

    Attributes:
        plain: what the others reach; margins come on top of it.
        rings: the same with what is found by ascents, so that with the margins there is room for it.
        windows: what windows are to have room for, all margins included.
    """

    plain: Reach
    rings: Reach
    windows: Reach

    __repr__ = brief


def extremes(program: Program, reach: Reach, within: InputRange, examples: Tensor, margins: Margins) -> Extremes:
    """Ascents on ``program``, where ``reach`` is what plain inputs reach.

    Of the margins, windows keep all but one bit for what exceeds the ascents, rings half a bit.
    """
    found, bounds = ascents(program, within, examples), worst_case(program, within)
    rings, windows = {}, {}
    for name, plain in reach.items():
        most = found[name] * ROUNDED
        rings[name] = np.maximum(plain, most * 2.0 ** (min(margins.ring, 0.5) - margins.ring))
        room = np.maximum(plain * 2.0**margins.window, most * 2.0 ** max(margins.window - 1, 0))
        windows[name] = np.fmin(room, bounds[name] * ROUNDED)
    return Extremes(reach, rings, windows)


def roomy(made: Callable[[Reach, Allowed], Found], holds: Callable[[Precision], bool], extremes: Extremes,
          network: Network | str) -> Found:  # fmt: skip
    """The plan with most room in the rings, of those that take little longer than the one for plain inputs and are
    as precise as is asked for, if that is.

    made: the plan for what is reached, if it is allowed. holds: whether one is precise enough.

    Raises:
        CompileError: there is no room for plain inputs.
    """
    plain, last = made(extremes.plain, lambda plan: True), extremes.plain
    limit = (1 + _SHARE) * _seconds(plain[0], network)
    for bits in _BITS:
        reach = up_to(extremes, bits)
        if all(np.array_equal(reach[name], last[name]) for name in reach):
            continue
        last = reach
        try:
            found = made(reach, lambda plan: _seconds(plan, network) <= limit)
        except CompileError as error:
            log.debug("no room for %d bits more in the rings: %s", bits, error)
            continue
        if holds(found[2]) or not holds(plain[2]) and found[2].error <= plain[2].error:
            return found
    return plain


def up_to(extremes: Extremes, bits: int = MOST) -> Reach:
    """What is reached in the rings, and at most so many bits more than plain inputs reach."""
    return {name: np.minimum(extremes.rings[name], value * 2.0**bits) for name, value in extremes.plain.items()}


def _seconds(plan: Plan, network: Network | str) -> float:
    """Predicted, with the rates that every machine plans with."""
    costs = (plan_cost(plan.with_comparison(name), network, rates=Rates()) for name in COMPARISONS)
    return min(cost.online_seconds for cost in costs)
