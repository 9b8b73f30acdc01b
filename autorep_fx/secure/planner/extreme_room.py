"""Room for inputs that are made to leave it: as much as costs little, or all that was found, whatever it costs.

Windows get all of it, where the ring has the bits: each takes a few levels more of comparison keys. Rings get it where
that takes no bit that precision needs, and nothing wider (planner.py). What they lack then may be had by wider wires or
truncations: such a plan is taken where it takes hardly longer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from ...errors import CompileError
from ..link.network import Network
from ..makers.maker import Maker
from ..plan import wire
from ..plan.input_range import InputRange
from ..plan.plan import SPARE, Plan
from ..program.plaintext import single
from ..program.program import Program
from .ascents import ascents
from .cut_or_widen import seconds_of
from .max_pool import gap_names
from .names import CUT
from .node import Margins
from .precise import Allowed, Found
from .precision import Precision
from .ranges import ROUNDED, worst_case
from .reach import Extremes, Reach

log = logging.getLogger(__name__)

#: How many bits of the rings beyond those of plain inputs are tried to be had, in this order; and the most.
_BITS, _MOST = (6, 2), 16

#: For what exceeds the ascents rings keep all but so many bits of their margin, and at least half a bit; windows all
#: but one.
_TAKEN, _LEAST = 1.5, 0.5

#: Part of the predicted time that wider wires and truncations may take.
_SHARE = 0.04


def extremes(
    program: Program,
    reach: Reach,
    within: InputRange,
    examples: Tensor,
    margins: Margins,
    known: tuple[Tensor, Reach] | None = None,
    done: Callable[[], None] = lambda: None,
) -> Extremes:
    """What ascents on ``program`` find, where ``reach`` is what plain inputs reach; no more than no input exceeds.

    known, done: as of :func:`~.ascents.ascents`.
    """
    found, bounds = ascents(program, within, examples, known, done), worst_case(single(program), within)
    rings, windows = {}, {}
    for name, plain in reach.items():
        most, bound = found[name] * ROUNDED, bounds[name] * ROUNDED
        room = np.maximum(plain * 2.0**margins.window, most * 2.0 ** max(margins.window - 1, 0))
        windows[name] = np.fmin(room, bound)
        spare = max(margins.ring - _TAKEN, min(margins.ring, _LEAST))
        room = np.fmin(most * 2.0**spare, bound) * 2.0**-margins.ring
        rings[name] = np.minimum(np.maximum(plain, room), plain * 2.0**_MOST)
    for step in program.steps:
        if step.op == "max_pool2d":  # a comparison a level, of what differs by twice as much
            rings |= dict.fromkeys(gap_names(step), 2 * rings[step.inputs[0]])
    return Extremes(rings, windows)


def lacks(plan: Plan, extremes: Extremes, margins: Margins) -> float:
    """How many bits of room all rings lack together for what is found to reach them."""
    missing = 0.0
    for step in plan.steps:
        for name, exponent in zip(step.inputs, wire.exponents(step)) if step.masked else ():
            wanted = float(extremes.rings.get(name.removesuffix(CUT), np.zeros(1)).max(initial=0.0))
            if wanted:
                missing += max(math.log2(wanted) + margins.ring - (step.attrs["wire"] - SPARE - exponent), 0.0)
    return missing


def roomy(made: Callable[[Reach, Allowed], Found], lacks: Callable[[Plan], float], easily: Callable[[Precision], bool],
          reach: Reach, extremes: Extremes, network: Network | str, maker: Maker) -> Found:  # fmt: skip
    """The plan for ``reach``; or one with more room in the rings that takes little longer and is as precise, or easily
    as precise as is asked for.

    made: the plan for what is reached, if it is allowed. lacks: bits of room. easily: whether one is.

    Raises:
        CompileError: there is no room for plain inputs.
    """
    plain = made(reach, lambda plan: True)
    limit = (1 + _SHARE) * seconds_of(plain[0], network, maker)
    for bits in _BITS if lacks(plain[0]) else ():
        try:
            found = made(up_to(reach, extremes, bits), lambda plan: seconds_of(plan, network, maker) <= limit)
        except CompileError as error:
            log.debug("no room for %d bits more in the rings: %s", bits, error)
            continue
        if lacks(found[0]) < lacks(plain[0]) and (easily(found[2]) or found[2].as_good_as(plain[2])):
            return found
    return plain


def hardly_longer(plan: Plan, other: Plan, network: Network | str, maker: Maker) -> bool:
    """Whether a plan takes as long as another one, or little more."""
    return seconds_of(plan, network, maker) <= (1 + _SHARE) * seconds_of(other, network, maker)


def up_to(reach: Reach, extremes: Extremes, bits: int = _MOST) -> Reach:
    """What extreme inputs reach in the rings, and at most so many bits more than the others."""
    return {name: np.minimum(extremes.rings[name], value * 2.0**bits) for name, value in reach.items()}
