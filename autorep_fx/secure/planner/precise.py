"""A plan with as few bits and truncations as precision takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import CompileError
from ..plan.plan import Plan
from ..plan.server_numbers import Numbers
from .precision import STANDARD_ERROR, Look, Precision

#: The error that a plan is made for at first, in proportion to what it may have, for gains mostly say too much; and in
#: what steps it gets smaller, how often, until what the plan shows on the examples is small enough.
_LOOSE, _STEP, _TRIES = 2.0, 2**-0.5, 16
FIRST_ERROR = _LOOSE * STANDARD_ERROR

#: What does not get better over so many plans, by at least this part, is not for roundings, and more bits are in vain.
_FLAT, _BETTER = 4, 0.1

#: What a few of the examples show is sure only where it is so many times as good as it has to be, or as bad.
_UNSURE = 2.0

#: How much more precise a plan is taken where it costs no wider wire and no truncation, and nobody asked for it.
_FINER = 2.0**-3

#: A plan and the server's numbers for it; and how far off it is.
Planned = tuple[Plan, dict[str, Numbers]]
Found = tuple[Plan, dict[str, Numbers], Precision]


def precise(
    planned: Callable[[float], Planned],
    look: Look,
    max_error: float,
    standard_error: float | None,
    lacks: Callable[[Plan], float] = lambda plan: 0.0,
) -> Found:
    """The first plan that is precise enough, with as few bits and truncations as that takes; the most precise one, if
    none is. Where nothing says how precise it must be, a finer one that has the same wires and ``lacks`` no more room
    for extreme inputs."""
    asked = _LOOSE * min(standard_error or STANDARD_ERROR, max_error)
    tried: list[Planned] = []
    beyond: list[float] = []
    for k in range(_TRIES):
        try:
            plan, numbers = planned(asked * _STEP**k)
        except CompileError:
            if not tried:
                raise
            break  # no room for so many bits
        if tried and plan.digest() == tried[-1][0].digest():
            continue
        tried.append((plan, numbers))
        glanced = look.glanced(plan, numbers)
        beyond.append(glanced.beyond(max_error))
        if not glanced.holds(max_error, standard_error, _UNSURE):
            if len(beyond) > _FLAT and beyond[-1] > (1 - _BETTER) * beyond[-1 - _FLAT]:
                break
            continue
        if standard_error is None and glanced.holds(max_error, None, 1 / _UNSURE):
            finer = _finer(planned, look, tried[-1], asked * _STEP**k, lacks)
            if finer is not None and finer[2].holds(max_error, None) and _no_worse(finer[2], glanced):
                return finer
        found = plan, *look.centered(plan, numbers)
        if found[2].holds(max_error, standard_error):
            if standard_error is not None:
                return found
            finer = _finer(planned, look, found, asked * _STEP**k, lacks)
            return finer if finer is not None and _no_worse(finer[2], found[2]) else found
    looked = [(plan, *look.centered(plan, numbers)) for plan, numbers in tried]
    return min(looked, key=lambda each: each[2].beyond(max_error))


def _finer(
    planned: Callable[[float], Planned], look: Look, found: Sequence, error: float, lacks: Callable[[Plan], float]
) -> Found | None:
    finer = finer_with_same_wires(planned, (found[0], found[1]), error)
    if finer is None or lacks(finer[0]) > lacks(found[0]):
        return None
    return finer[0], *look.centered(*finer)


def _no_worse(finer: Precision, found: Precision) -> bool:
    """Of equals the finer one: few examples, or round numbers, show no rounding that others will."""
    return finer.standard_error <= found.standard_error


def finer_with_same_wires(planned: Callable[[float], Planned], found: Planned, error: float) -> Planned | None:
    """What is planned for a fraction of ``error``, if there is room for it in the wires that ``found`` has."""
    try:
        finer = planned(error * _FINER)
    except CompileError:
        return None
    wires = ([step.attrs.get("wire") for step in plan.steps] for plan, _ in (finer, found))
    return finer if next(wires) == next(wires) else None
