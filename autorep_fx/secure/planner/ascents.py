"""What inner values reach on inputs that are made for it: gradient ascent on the program, value by value.

Of each value that ends on a masked wire the largest element climbs, up and down, from noise of the whole input range:
a step along the signs of the derivative, at first of the whole span, later of less. Whatever any value reaches on the
way counts. Where the plan publishes statistics, a picture starts as an example and is pulled back to it until a client
would send it.

It is a lower bound of what the range allows, and near it: on small networks fifty steps by others come to at most 1.4
times as much.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..plan.input_range import InputRange
from ..program.plaintext import OPS, single
from ..program.program import Program, Step
from .ranges import larger
from .reach import Reach, by_channel
from .table import SOURCES

#: Pictures that climb for each value and sign, and steps that they take: the most of which all multiply-adds together,
#: three times for the derivative, do not exceed ``_WORK``.
_EFFORTS = ((3, 12), (2, 8), (1, 6), (1, 3), (1, 1))
_WORK = 2.0**38

#: How often a picture that would be refused is brought half way back to its example.
_PULLS = 8


def ascents(program: Program, within: InputRange, examples: Tensor) -> Reach:
    """The largest absolute values that are found, by channel, of every value of ``program``; no number is above
    float32's largest."""
    targets = _targets(program)
    pictures, steps = next((e for e in _EFFORTS if _work(program, targets, *e) <= _WORK), _EFFORTS[-1])
    climb = _Climb(single(program), within, examples, torch.Generator().manual_seed(0))
    reach: Reach = {}
    for target in targets:
        for found in climb.towards(target, pictures, steps):
            reach |= larger({name: reach.get(name, value) for name, value in found.items()}, found)
    return reach


def _targets(program: Program) -> list[str]:
    """Values that end on masked wires, the output last."""
    read = [name for step in program.steps if not SOURCES[step.op].affine for name in step.inputs]
    return [*dict.fromkeys(name for name in read if name != program.public.output), program.public.output]


def _work(program: Program, targets: list[str], pictures: int, steps: int) -> float:
    sizes, total = np.cumsum([_macs(program, step) for step in program.steps]), 0.0
    order = {step.name: i for i, step in enumerate(program.steps)}
    for target in targets:
        total += 3.0 * sizes[order[target]] if target in order else 0.0
    return total * 2 * pictures * (steps + 1)


def _macs(program: Program, step: Step) -> int:
    weights = program.public.secret_shapes.get(step.secrets.get("weight", ""), ())
    return math.prod(step.shape) * math.prod(weights[1:])


class _Climb:
    """Inputs of the range that grow towards one value after another."""

    def __init__(self, program: Program, within: InputRange, examples: Tensor, draw: torch.Generator):
        shape = program.public.sample_shape
        by_channel_shape = (-1, *(1,) * (len(shape) - 1)) if shape else ()
        ends = (torch.from_numpy(end).float().reshape(by_channel_shape) for end in (within.low, within.high))
        self.low, self.high = (end.expand(shape) for end in ends)
        self.program, self.within, self.draw = program, within, draw
        self.examples = torch.minimum(torch.maximum(examples.float(), self.low), self.high)

    def towards(self, target: str, pictures: int, steps: int) -> Iterator[Reach]:
        """What all values up to ``target`` reach, step by step."""
        span = self.high - self.low
        count = 2 * pictures
        home = self.examples[torch.arange(count) % len(self.examples)]
        x = home if self.within.statistics else self.low + span * torch.rand(home.shape, generator=self.draw)
        signs = torch.tensor([1.0, -1.0]).repeat(pictures)
        for k in range(steps + 1):
            x = self._let_in(x, home)
            found, largest, at = self._seen(x, target, signs)
            yield found
            if k == steps:
                return
            slope = self._slope(largest, at)
            x = x + (1 - k / (steps + 1)) * span * slope.sign()
            x = torch.minimum(torch.maximum(x, self.low), self.high)

    def _let_in(self, x: Tensor, home: Tensor) -> Tensor:
        """Each picture so far from its example as a client would send it."""
        if not self.within.statistics:
            return x
        for _ in range(_PULLS):
            typical = torch.from_numpy(self.within.typical(x.double().numpy()))
            if typical.all():
                return x
            x = torch.where(typical.reshape(-1, *(1,) * (x.dim() - 1)), x, (x + home) / 2)
        typical = torch.from_numpy(self.within.typical(x.double().numpy()))
        return torch.where(typical.reshape(-1, *(1,) * (x.dim() - 1)), x, home)

    def _seen(self, x: Tensor, target: str, signs: Tensor) -> tuple[Reach, Tensor, Tensor]:
        """What is reached; each picture's largest element of ``target`` times its sign; and the pictures that it is to
        be derived by."""
        program = self.program
        with torch.enable_grad():
            given = x.clone().requires_grad_()
            values = program.public.given(given)
            for step in program.steps:
                if target in values:
                    break
                values[step.name] = OPS[step.op](step, program.secrets(step), *(values[name] for name in step.inputs))
            largest = (values[target].reshape(len(x), -1) * signs[:, None]).amax(1)
        found = {name: by_channel(value.detach().nan_to_num(nan=math.inf)) for name, value in values.items()}
        most = float(torch.finfo(torch.float32).max)
        reach = {name: np.minimum(value.astype(np.float64), most) for name, value in found.items()}
        return reach, largest, given

    @staticmethod
    def _slope(largest: Tensor, at: Tensor) -> Tensor:
        if not largest.requires_grad:
            return torch.zeros_like(at)
        (slope,) = torch.autograd.grad(largest.sum(), at, allow_unused=True)
        return torch.zeros_like(at) if slope is None else slope.nan_to_num()
