"""What the functions of program/ranged.py are called on, as the examples show: their ends, and the powers of two that
bring arguments and results near 1, where the ring has the most bits for both.

An exponential is taken of what is less by a public number c, which a softmax does not see. Otherwise arguments may go
below the least of the examples by a factor of 16, and as far beyond the largest as their wire has room: the result
stays what it is there.
"""

from __future__ import annotations

import dataclasses
import math

from torch import Tensor

from ...errors import CompileError
from ..program.plaintext import values
from ..program.program import Program, Step
from ..program.ranged import RANGED
from .ranges import at_once

#: By how much an argument may be less than on any example.
_BELOW = 16.0

#: An exponential's argument ends so far above the examples', and its error is relative so far below the middle of them.
_ABOVE, _DOWN = 1.0, 2.0

#: The largest that an exponential becomes on the examples, as a power of e.
_MOST = 4.0


def with_known_arguments(program: Program, x: Tensor) -> Program:
    """The program with all of this set, from a batch in float64; as it is, where it has no such function.

    Raises:
        CompileError: a root or a reciprocal of what is not positive on the examples.
    """
    sites = [step for step in program.steps if step.op == "hybrid" and step.attrs["kind"] in RANGED]
    if not sites:
        return program
    steps = {step.name: step for step in program.steps}
    seen = _seen(program, x, [step.inputs[0] for step in sites])
    for site in sites:
        low, high = seen[site.inputs[0]]
        behind = next(step for step in program.steps if site.name in step.inputs)
        _set(steps, site, steps[site.inputs[0]], behind, low, high)
    return Program(dataclasses.replace(program.public, steps=tuple(steps.values())), program.server)


def _seen(program: Program, x: Tensor, names: list[str]) -> dict[str, tuple[float, float]]:
    """The least and the largest of each value."""
    found = {name: (math.inf, -math.inf) for name in names}
    for part in x.split(at_once(program)):
        known = values(program, part)
        for name, (low, high) in found.items():
            found[name] = (min(low, float(known[name].min())), max(high, float(known[name].max())))
    return found


def _set(steps: dict[str, Step], site: Step, argument: Step, behind: Step, low: float, high: float) -> None:
    ranged = RANGED[site.attrs["kind"]]
    if ranged.power is None:
        top = min((high - low) / 2, _MOST)
        _replace(steps, argument, number=top - high)
        _replace(steps, site, params={"low": -top - _DOWN, "high": top + _ABOVE})
        return
    if not low > 0:
        raise CompileError(
            f"'{site.name}' takes a {'root' if ranged.power == -0.5 else 'reciprocal'} of values down to {low:.3g} on "
            "the examples; add a small number to what is never negative, as normalisations do"
        )
    # 4**k, whose root is a power of two
    factor = 4.0 ** -math.ceil(math.log(high, 4))
    least = max(site.attrs["params"]["low"], low / _BELOW) * factor
    _replace(steps, argument, factor=factor)
    _replace(steps, site, params={"low": least, "high": 2.0**40})
    _replace(steps, behind, factor=factor**-ranged.power)


def _replace(steps: dict[str, Step], step: Step, **attrs: object) -> None:
    old = steps[step.name]
    steps[step.name] = dataclasses.replace(old, attrs={**old.attrs, **attrs})
