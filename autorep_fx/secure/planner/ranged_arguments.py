"""What the functions of program/ranged.py are called on, as the examples show: their ends, and the powers of two that
bring arguments and results near 1, where the ring has the most bits for both.

A softmax does not see what is taken off a row of its scores. Where the largest scores of a row differ little over the
examples, that is a number of the row's own (the server knows it), so that they lie around 0, and exponentials are as
precise as the row with the smallest of these needs. Where they differ by more, as in attention that was trained to look
at few tokens, it is the largest score of the row itself, found by comparisons (a message more each time that what is
left of a row halves): then the largest exponential of a row is around 1, whatever the input is.

A root's argument may go below the least of the examples by a factor of 16, and as far beyond the largest as its wire
has room: the result stays what it is there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

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

#: By how much the largest score of a row may differ over the examples where what is taken off is a number.
_APART = 5.0

#: What scores that a mask leaves out are lowered by, to know the largest of the others: by far more than there is; and
#: in a program by twice what they exceed it by on the examples, and so much.
_FAR, _BELOW_ALL = 1e9, 4.0


def with_known_arguments(program: Program, x: Tensor) -> Program:
    """The program with all of this set, from a batch in float64; as it is, where it has no such function.

    Raises:
        CompileError: a root or a reciprocal of what is not positive on the examples.
    """
    sites = [step for step in program.steps if step.op == "hybrid" and step.attrs["kind"] in RANGED]
    if not sites:
        return program
    program = _with_rows_shifted(program, [site for site in sites if RANGED[site.attrs["kind"]].power is None], x)
    scaled = [site for site in sites if RANGED[site.attrs["kind"]].power is not None]
    made, ends = {step.name: step for step in program.steps}, {site.name: (math.inf, -math.inf) for site in scaled}
    for part in x.split(at_once(program)):
        known = values(program, part)
        for site in scaled:
            argument, (low, high) = known[site.inputs[0]], ends[site.name]
            ends[site.name] = (min(low, float(argument.min())), max(high, float(argument.max())))
    for site in scaled:
        _scale(program, made, site, *ends[site.name])
    return _of(program, list(made.values()), program.server)


def _with_rows_shifted(program: Program, sites: list[Step], x: Tensor) -> Program:
    """The program whose exponentials ``sites`` are behind the shifts of their rows."""
    if not sites:
        return program
    rows = {site.name: _Rows(program, site) for site in sites}

    def shifted(by: Callable[[_Rows, dict[str, Tensor]], list[Step]]) -> Program:
        server = dict(program.server)
        steps = [each for step in program.steps
                 for each in (by(rows[step.name], server) if step.name in rows else [step])]  # fmt: skip
        return _of(program, steps, server)

    exact = shifted(lambda row, server: row.by_the_largest(server, _FAR))
    for part in x.split(at_once(exact)):
        known = values(exact, part)
        for row in rows.values():
            row.see(known)
    return shifted(_Rows.by_what_was_seen)


def _of(program: Program, steps: list[Step], server: dict[str, Tensor]) -> Program:
    shapes = {key: tuple(value.shape) for key, value in server.items()}
    return Program(dataclasses.replace(program.public, steps=tuple(steps), secret_shapes=shapes), server)


class _Rows:
    """The rows of a softmax, and the largest scores that the examples show of them."""

    def __init__(self, program: Program, site: Step):
        self.site, (self.positions, (axis,)) = site, next(_summed(program, site))
        self.axis = axis - 1  # of a sample
        self._maxima: list[Tensor] = []
        self._beyond = 0.0  # of scores that are left out, over the largest of the others

    def see(self, known: Mapping[str, Tensor]) -> None:
        """known: values of :meth:`by_the_largest`."""
        maxima = known[f"{self.site.name}.largest"]
        self._maxima.append(maxima)
        if self.positions is not None:
            beyond = (known[self.site.inputs[0]] - maxima).flatten(1)[:, self._left_out().flatten()]
            self._beyond = max(self._beyond, float(beyond.max()))

    def by_what_was_seen(self, server: dict[str, Tensor]) -> list[Step]:
        maxima = torch.cat(self._maxima)
        spread = float((maxima.amax(0) - maxima).max())
        if spread <= _APART:
            return self._by_numbers(server, maxima.amax(0), spread)
        return self.by_the_largest(server, 2 * self._beyond + _BELOW_ALL)

    def _by_numbers(self, server: dict[str, Tensor], largest: Tensor, spread: float) -> list[Step]:
        # Ends that are multiples of a half lie on the grid of a table; what is taken off may be any number.
        name, top = f"{self.site.name}.shifted", math.ceil(spread) / 2
        server[f"{name}.constant"] = top - largest
        shift = Step(name, "add_private", self.site.inputs, self.site.shape, {}, {"constant": f"{name}.constant"})
        return [shift, self._behind(name, math.floor(2 * (top - spread - _DOWN)) / 2, top + _ABOVE)]

    def by_the_largest(self, server: dict[str, Tensor], lowered: float) -> list[Step]:
        """lowered: what is taken off scores that are left out, before they are compared. server: gets what is added."""
        (x,), shape, name = self.site.inputs, self.site.shape, self.site.name
        before, size, after = math.prod(shape[: self.axis]), shape[self.axis], math.prod(shape[self.axis + 1 :])
        one = (*shape[: self.axis], 1, *shape[self.axis + 1 :])
        steps, compared = [], x
        if self.positions is not None:
            compared, key = f"{name}.seen", f"{name}.seen.constant"
            server[key] = -lowered * self._left_out().double()
            steps.append(Step(compared, "add_private", (x,), shape, {}, {"constant": key}))
        # No output sees how exact the maximum is, so it gets no fractional bits: each of its levels is off by up to 1.
        unit = _ABOVE * 2.0 ** -math.ceil(math.log2(max((size - 1).bit_length(), 1)))
        window = {"kernel": (size, 1), "stride": (size, 1), "padding": (0, 0), "dilation": (1, 1)}
        return [
            *steps,
            Step(f"{name}.rows", "reshape", (compared,), (before, size, after), {}, {}),
            Step(f"{name}.units", "scale", (f"{name}.rows",), (before, size, after), {"factor": 1 / unit}, {}),
            Step(f"{name}.max", "max_pool2d", (f"{name}.units",), (before, 1, after), window, {}),
            Step(f"{name}.maxima", "scale", (f"{name}.max",), (before, 1, after), {"factor": unit}, {}),
            Step(f"{name}.largest", "reshape", (f"{name}.maxima",), one, {}, {}),
            Step(f"{name}.shifted", "add", (x, f"{name}.largest"), shape, {"sign": -1}, {}),
            self._behind(f"{name}.shifted", -_ABOVE - _DOWN, _ABOVE),
        ]

    def _behind(self, name: str, low: float, high: float) -> Step:
        params = {"low": low, "high": high}
        return dataclasses.replace(self.site, inputs=(name,), attrs={**self.site.attrs, "params": params})

    def _left_out(self) -> Tensor:
        """Of a sample."""
        seen = tensor_ops.keep(self.positions, torch.ones(1, *self.site.shape, dtype=torch.float64))
        return seen[0] == 0


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
