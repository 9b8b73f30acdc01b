"""What the functions of program/ranged.py are called on, as the examples show: their ends, and the powers of two that
bring arguments and results near 1, where the ring has the most bits for both.

A softmax does not see what is added to a row of its scores. So each row is shifted by a number of its own (the server
knows it) until the largest scores of all rows and examples lie around 0, and exponentials are as precise as the row
with the smallest of these needs. A root's argument may go below the least of the examples by a factor of 16, and as far
beyond the largest as its wire has room: the result stays what it is there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ...errors import CompileError
from ..program import tensor_ops
from ..program.plaintext import values
from ..program.program import Program, Step
from ..program.ranged import RANGED
from .ranges import at_once

#: By how much an argument may be less than on any example.
_BELOW = 16.0

#: An exponential ends so far above what the examples reach, and its error is relative as far below their rows' maxima.
_ABOVE, _DOWN = 1.0, 2.0

#: The largest that an exponential becomes on the examples, as a power of e.
_MOST = 5.0


def with_known_arguments(program: Program, x: Tensor) -> Program:
    """The program with all of this set, from a batch in float64; as it is, where it has no such function.

    Raises:
        CompileError: a root or a reciprocal of what is not positive on the examples.
    """
    sites = [step for step in program.steps if step.op == "hybrid" and step.attrs["kind"] in RANGED]
    if not sites:
        return program
    made, server = {step.name: step for step in program.steps}, dict(program.server)
    rows = {site.name: _Rows(program, site) for site in sites if RANGED[site.attrs["kind"]].power is None}
    ends = {site.name: (math.inf, -math.inf) for site in sites}
    for part in x.split(at_once(program)):
        known = values(program, part)
        for site in sites:
            argument, (low, high) = known[site.inputs[0]], ends[site.name]
            ends[site.name] = (min(low, float(argument.min())), max(high, float(argument.max())))
            if site.name in rows:
                rows[site.name].see(argument)
    for site in sites:
        if site.name not in rows:
            _scale(program, made, site, *ends[site.name])
    steps: list[Step] = []
    for step in made.values():
        steps += rows[step.name].shifted(step, server) if step.name in rows else [step]
    shapes = {key: tuple(value.shape) for key, value in server.items()}
    public = dataclasses.replace(program.public, steps=tuple(steps), secret_shapes=shapes)
    return Program(public, server)


class _Rows:
    """The largest scores of each row of a softmax, over the examples."""

    def __init__(self, program: Program, site: Step):
        self.positions, self.dims = next(_summed(program, site))
        self._seen: list[Tensor] = []

    def see(self, scores: Tensor) -> None:
        if self.positions is not None:
            hidden = tensor_ops.keep(self.positions, torch.ones_like(scores)) == 0
            scores = scores.masked_fill(hidden, -math.inf)
        self._seen.append(scores.amax(self.dims, keepdim=True))

    def shifted(self, site: Step, server: dict[str, Tensor]) -> list[Step]:
        """The exponential behind the shift of its rows. server: gets what is added."""
        maxima = torch.cat(self._seen)
        largest = maxima.amax(0)
        spread = float((largest - maxima).max())
        top = min(spread / 2, _MOST)
        name = f"{site.name}.shifted"
        key = f"{name}.constant"
        server[key] = top - largest
        params = {"low": top - spread - _DOWN, "high": top + _ABOVE}
        return [
            Step(name, "add_private", site.inputs, site.shape, {}, {"constant": key}),
            dataclasses.replace(site, inputs=(name,), attrs={**site.attrs, "params": params}),
        ]


def _summed(program: Program, site: Step) -> Iterator[tuple[object, tuple[int, ...]]]:
    """(positions that are seen of what an exponential gives, axes of the batch's that it is summed over)."""
    for step in program.steps:
        if site.name in step.inputs and step.op == "sum":
            yield None, step.attrs["dims"]
        elif site.name in step.inputs and step.op == "keep":
            yield from ((step.attrs["positions"], dims) for _, dims in _summed(program, step))


def _scale(program: Program, steps: dict[str, Step], site: Step, low: float, high: float) -> None:
    power = RANGED[site.attrs["kind"]].power
    if not low > 0:
        raise CompileError(
            f"'{site.name}' takes a {'root' if power == -0.5 else 'reciprocal'} of values down to {low:.3g} on the "
            "examples; add a small number to what is never negative, as normalisations do"
        )
    factor = 4.0 ** -math.ceil(math.log(high, 4))  # whose root is a power of two, too
    least = max(site.attrs["params"]["low"], low / _BELOW) * factor
    behind = next(step for step in program.steps if site.name in step.inputs)
    _replace(steps, steps[site.inputs[0]], factor=factor)
    _replace(steps, site, params={"low": least, "high": 2.0**40})
    _replace(steps, behind, factor=factor**-power)


def _replace(steps: dict[str, Step], step: Step, **attrs: object) -> None:
    old = steps[step.name]
    steps[step.name] = dataclasses.replace(old, attrs={**old.attrs, **attrs})
