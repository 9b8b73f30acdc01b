"""What inner values reach on inputs that are made for it: gradient ascent on the program.

Of each value that ends on a masked wire the largest element climbs, up and down, from noise of the whole input range:
a step along the signs of the derivative, at first of the whole span, later of less. Whatever any value reaches on the
way counts. Where the plan publishes statistics, a picture starts as an example and is pulled back to it until a client
would send it. Pictures for all values go through the program together, each as far as its own.

In large networks one picture climbs for several values, each in proportion to what it is: the steps that are saved
find more for it. On ResNet-18, for all values at once in twelve steps, as much as for one value at a time in six, at a
quarter of the work.

It is a lower bound of what the range allows, and near it: on small networks fifty steps by others come to at most 1.4
times as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..plan.input_range import InputRange
from ..program.plaintext import OPS, single
from ..program.program import Program, Step
from .ranges import at_once, larger
from .reach import Reach, by_channel
from .table import SOURCES

#: Pictures that climb for each sign, steps that they take, and for how many values that follow one another the same
#: ones climb, 0 for all: the most of which all multiply-adds together, three times for the derivative, do not exceed
#: ``_WORK``.
_EFFORTS = ((3, 12, 1), (3, 12, 4), (1, 16, 0), (1, 8, 0), (1, 4, 0))
_WORK = 2.0**35

#: How often a picture that would be refused is brought half way back to its example.
_PULLS = 8


def ascents(program: Program, within: InputRange, examples: Tensor, done: Callable[[], None] = lambda: None) -> Reach:
    """The largest absolute values that are found, by channel, of every value of ``program``; no number is above
    float32's largest. done: is called after every step of the pictures."""
    targets = _targets(program)
    efforts = [(pictures, steps, together or len(targets)) for pictures, steps, together in _EFFORTS]
    pictures, steps, together = next((e for e in efforts if _work(program, targets, *e) <= _WORK), efforts[-1])
    climb = _Climb(single(program), within, examples, torch.Generator().manual_seed(0))
    groups = [targets[i : i + together] for i in range(0, len(targets), together)]
    at_a_time = max(at_once(program) // (2 * pictures), 1)
    reach: Reach = {}
    for i in range(0, len(groups), at_a_time):
        for found in climb.towards(groups[i : i + at_a_time], pictures, steps):
            done()
            reach |= larger({name: reach.get(name, value) for name, value in found.items()}, found)
    return reach


def _targets(program: Program) -> list[str]:
    """Values that end on masked wires, the output last."""
    read = [name for step in program.steps if not SOURCES[step.op].affine for name in step.inputs]
    return [*dict.fromkeys(name for name in read if name != program.public.output), program.public.output]


def _work(program: Program, targets: list[str], pictures: int, steps: int, together: int) -> float:
    sizes, total = np.cumsum([_macs(program, step) for step in program.steps]), 0.0
    order = {step.name: i for i, step in enumerate(program.steps)}
    for i in range(0, len(targets), together):
        total += 3.0 * max(sizes[order[target]] if target in order else 0.0 for target in targets[i : i + together])
    return total * 2 * pictures * (steps + 1)


def _macs(program: Program, step: Step) -> int:
    weights = program.public.secret_shapes.get(step.secrets.get("weight", ""), ())
    return math.prod(step.shape) * math.prod(weights[1:])


def _last_uses(program: Program) -> dict[str, list[str]]:
    """Values that nothing reads behind a step, by its name."""
    last = {name: step.name for step in program.steps for name in step.inputs}
    found: dict[str, list[str]] = {}
    for name, step in last.items():
        found.setdefault(step, []).append(name)
    return found


class _Climb:
    """Inputs of the range that grow towards one value after another."""

    def __init__(self, program: Program, within: InputRange, examples: Tensor, draw: torch.Generator):
        shape = program.public.sample_shape
        by_channel_shape = (-1, *(1,) * (len(shape) - 1)) if shape else ()
        ends = (torch.from_numpy(end).float().reshape(by_channel_shape) for end in (within.low, within.high))
        self.low, self.high = (end.expand(shape) for end in ends)
        self.program, self.within, self.draw = program, within, draw
        self.order = {name: i for i, name in enumerate([*program.public.inputs, *(s.name for s in program.steps)])}
        self.gone = _last_uses(program)
        self.examples = torch.minimum(torch.maximum(examples.float(), self.low), self.high)

    def towards(self, groups: list[list[str]], pictures: int, steps: int) -> Iterator[Reach]:
        """What all values reach, step by step, on pictures that climb for each group, of values up to its last one."""
        span, count = self.high - self.low, 2 * pictures
        home = self.examples[torch.arange(count) % len(self.examples)]
        own = [home if self.within.statistics else self._noise(home) for _ in groups]
        last = [max(map(self.order.__getitem__, group)) for group in groups]
        sooner = sorted(range(len(groups)), key=last.__getitem__)
        x, home = torch.cat([own[i] for i in sooner]), home.repeat(len(groups), *(1,) * (home.dim() - 1))
        for k in range(steps + 1):
            x = self._let_in(x, home)
            found, largest, at = self._seen(x, [groups[i] for i in sooner], count)
            yield found
            if k == steps:
                return
            slope = self._slope(largest, at)
            x = x + (1 - k / (steps + 1)) * span * slope.sign()
            x = torch.minimum(torch.maximum(x, self.low), self.high)

    def _noise(self, like: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * torch.rand(like.shape, generator=self.draw)

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

    def _seen(self, x: Tensor, groups: list[list[str]], count: int) -> tuple[Reach, list[Tensor], Tensor]:
        """What is reached; the largest elements of each picture's values times its sign; and the pictures that they are
        to be derived by.

        groups: each has ``count`` of the pictures in a row. They go as far as its last value.
        """
        program, signs = self.program, torch.tensor([1.0, -1.0]).repeat(count // 2)
        waiting = [{*group} for group in groups]
        reach: Reach = {}
        largest: list[Tensor] = []
        values: dict[str, Tensor] = {}

        def see(name: str, value: Tensor) -> None:
            values[name] = value
            reach[name] = by_channel(value.detach().nan_to_num(nan=math.inf))
            for i, group in enumerate(waiting):
                if name in group:
                    rows = value[i * count : (i + 1) * count]
                    largest.append((rows.reshape(count, -1) * signs[:, None]).amax(1))
                    group.remove(name)
            done = 0
            while waiting and not waiting[0]:
                del waiting[0]
                done += count
            if done:
                values.update({name: value[done:] for name, value in values.items()})

        with torch.enable_grad():
            given = x.clone().requires_grad_()
            for name, part in program.public.given(given).items():
                values[name] = part
            for name in [*values]:
                see(name, values[name])
            for step in program.steps:
                if not waiting:
                    break
                inputs = [values[name] for name in step.inputs]
                for name in self.gone.get(step.name, ()):
                    del values[name]
                see(step.name, OPS[step.op](step, program.secrets(step), *inputs))
        most = float(torch.finfo(torch.float32).max)
        return {name: np.minimum(value, most) for name, value in reach.items()}, largest, given

    @staticmethod
    def _slope(largest: list[Tensor], at: Tensor) -> Tensor:
        climbing = [found for found in largest if found.requires_grad]
        if not climbing:
            return torch.zeros_like(at)
        parts = [found / found.detach().abs().clamp_min(1e-30) for found in climbing]
        (slope,) = torch.autograd.grad(sum(part.sum() for part in parts), at, allow_unused=True)
        return torch.zeros_like(at) if slope is None else slope.nan_to_num()
