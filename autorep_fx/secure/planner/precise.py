"""A plan with as few bits and truncations as precision takes.

:func:`precise` goes through the errors that a plan may be made for. :class:`Search` does that with coarse weights and
splines, and with finer ones where those are not enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...errors import CompileError
from ...text import brief
from ..plan.plan import Plan
from ..plan.server_numbers import Numbers
from .node import Limits
from .planner import Planning
from .precision import STANDARD_ERROR, Look, Precision
from .reach import Reach

#: The error that a plan is made for at first, in proportion to what it may have, for gains mostly say too much; and in
#: what steps it gets smaller, how often, until what the plan shows on the examples is small enough.
_LOOSE, _STEP, _TRIES = 2.0, 2**-0.5, 16
FIRST_ERROR = _LOOSE * STANDARD_ERROR

#: What a few of the examples show is sure only where it is so many times as good as it has to be, or as bad.
_UNSURE = 2.0

#: After so many tries without a better one no better one comes; and so many of the best are looked at closely then.
_IN_VAIN, _LOOKED = 6, 3

#: How much more precise a plan is taken where it costs no wider wire and no truncation, and nobody asked for it.
FINER = 2.0**-3

#: A plan and the server's numbers for it; and how far off it is.
Planned = tuple[Plan, dict[str, Numbers]]
Found = tuple[Plan, dict[str, Numbers], Precision]

#: Whether a plan may be taken.
Allowed = Callable[[Plan], bool]

#: Significant bits of weights where those that fit 16 bits of storage are not precise enough.
_LONG = 22

#: Part of their error that splines may have where they are not precise enough otherwise.
_SPLINES = 0.04


@dataclass(frozen=True)
class Fineness:
    """What a plan is made with: the most bits of each kind, and how far off splines may be."""

    limits: Limits
    spline_error: float

    __repr__ = brief

    def finer(self, weights: bool, splines: bool) -> Fineness:
        """The same with longer weights, with finer splines, or both."""
        limits = replace(self.limits, weight=_LONG) if weights else self.limits
        return Fineness(limits, self.spline_error * (_SPLINES if splines else 1.0))


class Search:
    """Of one program, plans that are precise enough.

    What is found not to be, for less room, is not tried again for more.

    Args:
        planning: plans with room for what is reached, as fine as that.
        fineness: in turn, until one is precise enough.
        look, max_error, standard_error, lacks, as_cheap: as of :func:`precise`.
        done: is called after every plan that is made.
    """

    def __init__(
        self,
        planning: Callable[[Reach, Fineness], Planning],
        fineness: Sequence[Fineness],
        look: Look,
        max_error: float,
        standard_error: float | None,
        *,
        lacks: Callable[[Plan], float] = lambda plan: 0.0,
        as_cheap: Callable[[Plan, Plan], bool] | None = None,
        done: Callable[[], None] = lambda: None,
    ):
        self.planning, self.fineness, self.look = planning, [*fineness], look
        self.max_error, self.standard_error = max_error, standard_error
        self.lacks, self.as_cheap, self.done = lacks, as_cheap, done
        self._coarse: set[int] | None = None  # tries that are so with the least room, which comes first

    def found(self, reach: Reach, allowed: Allowed = lambda plan: True) -> Found:
        """The first plan that is precise enough and ``allowed``; the most precise one, if none is.

        Raises:
            CompileError: there is no plan; or one takes longer than it may.
        """
        best: Found | None = None
        while True:
            try:
                found = self._as_fine(self.fineness[0], reach, allowed)
            except CompileError:
                if best is None:
                    raise
                return best
            best = found if best is None else min(best, found, key=lambda each: each[2].beyond(self.max_error))
            if found[2].holds(self.max_error, self.standard_error) or len(self.fineness) == 1:
                return best
            self.fineness.pop(0)
            self._coarse = None

    def easily(self, found: Precision) -> bool:
        """Whether it is precise enough twice over."""
        wanted = self.standard_error or STANDARD_ERROR
        return found.holds(self.max_error, self.standard_error) and found.holds(self.max_error / 2, wanted / 2)

    def _as_fine(self, fineness: Fineness, reach: Reach, allowed: Allowed) -> Found:
        planning = self.planning(reach, fineness)

        def planned(error: float) -> Planned:
            plan, numbers = planning.made(error)
            if not allowed(plan):
                raise CompileError("it takes longer than it may")
            self.done()
            return plan, numbers

        coarse = set(self._coarse or ())
        if self._coarse is None:
            self._coarse = coarse
        return precise(planned, self.look, self.max_error, self.standard_error, self.lacks, coarse, self.as_cheap)


def precise(
    planned: Callable[[float], Planned],
    look: Look,
    max_error: float,
    standard_error: float | None,
    lacks: Callable[[Plan], float] = lambda plan: 0.0,
    coarse: set[int] | None = None,
    as_cheap: Callable[[Plan, Plan], bool] | None = None,
) -> Found:
    """The first plan that is precise enough, with as few bits and truncations as that takes; the most precise one, if
    none is. Where nothing says how precise it must be, a finer one that has the same wires, or is ``as_cheap``, and
    ``lacks`` no more room for extreme inputs.

    coarse: tries that are known to be far off, as they are with less room, and are not made; those that are found so
        are added, and where none is precise enough all but the best one.

    Raises:
        CompileError: there is no plan; or all tries are known to be far off.
    """
    coarse = set() if coarse is None else coarse
    asked = _LOOSE * min(standard_error or STANDARD_ERROR, max_error)
    tries = _Tries(max_error)
    k, skipped = 0, 0
    while k < _TRIES:
        if k in coarse:
            k += 1
            continue
        try:
            plan, numbers = planned(asked * _STEP**k)
        except CompileError:
            if not tries.off:
                raise
            if not skipped:
                break  # no room for so many bits
            k, skipped = k - skipped, 0
            continue
        if tries.just_tried(plan):
            k, skipped = k + 1, 0
            continue
        glanced = look.glanced(plan, numbers)
        off = max(glanced.beyond(max_error), glanced.standard_error / (standard_error or STANDARD_ERROR))
        tries.glanced(k, (plan, numbers), off)
        if not glanced.holds(max_error, standard_error, 1.0) and tries.in_vain():
            break
        if not glanced.holds(max_error, standard_error, _UNSURE):
            coarse.add(k)
            skipped = min(_vain(off / _UNSURE), max(_TRIES - 2 - k, 0))
            k += 1 + skipped
            continue
        finer = None
        if standard_error is None and glanced.holds(max_error, None):
            finer = _finer(planned, look, plan, asked * _STEP**k, lacks, as_cheap)
            if finer is not None and finer[2].holds(max_error, None) and _no_worse(finer[2], glanced):
                return finer
        found = plan, *look.centered(plan, numbers)
        tries.walked(k, found)
        if found[2].holds(max_error, standard_error):
            if standard_error is not None:
                return found
            finer = finer or _finer(planned, look, plan, asked * _STEP**k, lacks, as_cheap)
            return finer if finer is not None and _no_worse(finer[2], found[2]) else found
        k, skipped = k + 1, 0
    if not tries.off:
        raise CompileError("with less room no plan was nearly precise enough")
    # What a glance shows best, and what was walked anyway.
    for k, (plan, numbers) in tries.unwalked():
        tries.walked(k, (plan, *look.centered(plan, numbers)))
    chosen, found = tries.best()
    coarse.update(range(_TRIES))
    coarse.discard(chosen)
    return found


class _Tries:
    """Plans that were tried: only the best are kept, for of a large network the server's numbers are large.

    Attributes:
        off: how far off a glance shows each to be, in proportion to what it may be, in the order of the tries.
    """

    def __init__(self, max_error: float):
        self.off: dict[int, float] = {}
        self._max_error = max_error
        self._last = b""
        self._glanced: dict[int, Planned | None] = {}
        self._best: tuple[tuple[float, int], Found] | None = None

    def just_tried(self, plan: Plan) -> bool:
        """Whether it is the plan that this was asked about last."""
        before, self._last = self._last, plan.digest()
        return before == self._last

    def glanced(self, k: int, planned: Planned, off: float) -> None:
        self.off[k], self._glanced[k] = off, planned
        best = sorted(self.off, key=self.off.__getitem__)[:_LOOKED]
        self._glanced = {k: planned for k, planned in self._glanced.items() if k in best}

    def walked(self, k: int, found: Found) -> None:
        """Instead of only glanced at."""
        if k in self._glanced:
            self._glanced[k] = None
        off = found[2].beyond(self._max_error), k
        if self._best is None or off < self._best[0]:
            self._best = off, found

    def in_vain(self) -> bool:
        """Whether the last ones are no better than one before."""
        off = [*self.off.values()]
        return min(off) < min(off[-_IN_VAIN:])

    def unwalked(self) -> list[tuple[int, Planned]]:
        """Of those that a glance shows best the ones that nobody has walked."""
        return [(k, planned) for k, planned in self._glanced.items() if planned is not None]

    def best(self) -> tuple[int, Found]:
        """What was off by least where it was walked, the first of as good ones."""
        assert self._best is not None
        return self._best[0][1], self._best[1]


def _vain(times: float) -> int:
    """Steps that are not tried, where a plan is so many times too far off: half of those that take it so far down."""
    return max(math.floor(math.log2(times)) - 1, 0) if 1 < times < math.inf else 0


def _finer(planned: Callable[[float], Planned], look: Look, found: Plan, error: float, lacks: Callable[[Plan], float],
           as_cheap: Callable[[Plan, Plan], bool] | None) -> Found | None:  # fmt: skip
    """What is planned for a fraction of ``error``, if there is room for it in the wires that ``found`` has, or if it is
    ``as_cheap``; and looked at."""
    try:
        finer, numbers = planned(error * FINER)
    except CompileError:
        return None
    wires = ([step.attrs.get("wire") for step in plan.steps] for plan in (finer, found))
    same = next(wires) == next(wires) or (as_cheap is not None and as_cheap(finer, found))
    if not same or lacks(finer) > lacks(found):
        return None
    return finer, *look.centered(finer, numbers)


def _no_worse(finer: Precision, found: Precision) -> bool:
    """Of equals the finer one: few examples, or round numbers, show no rounding that others will."""
    return finer.standard_error <= found.standard_error
