"""What inner values reach on inputs that are made for it: gradient ascent on the program.

Of each value that ends on a masked wire the largest element climbs, up and down, from the artificial picture that takes
it furthest, others from noise of the whole input range: a step along the signs of the derivative and of half of what
the steps before went along, at first of half of the span, later of less. Whatever any value reaches on the way counts.
Where the plan publishes statistics, a picture starts as an example and is pulled back to it until a client would send
it. Pictures for all values go through the program together, each as far as its own.

In large networks one picture climbs for several values, each in proportion to what it is: the steps that are saved
find more for it. On ResNet-18, for half of the values at once in three steps, as much as from noise in whole spans for
all of them in eight, at six tenths of the time.

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

#: Pictures that climb for each sign, steps that they take, and for how many values that follow one another, or for what
#: part of all, the same ones climb: the most of which all multiply-adds together, three times for the derivative, do
#: not exceed ``_WORK``. An element takes as long as so many of them.
_EFFORTS: tuple[tuple[int, int, float], ...] = ((3, 12, 1), (3, 12, 4), (1, 6, 0.5), (1, 3, 0.5), (1, 2, 0.5))
_WORK, _ELEMENT = 2.0**35, 10

#: Part of the span that the first step goes, and of the directions before that counts.
_FIRST, _ONWARD = 0.5, 0.5

#: How often a picture that would be refused is brought half way back to its example.
_PULLS = 8


def ascents(
    program: Program,
    within: InputRange,
    examples: Tensor,
    known: tuple[Tensor, Reach] | None = None,
    done: Callable[[], None] = lambda: None,
) -> Reach:
    """The largest absolute values that are found, by channel, of every value of ``program``; no number is above
    float32's largest.

    known: artificial pictures, and what each of them reaches (:func:`~.ranges.by_samples`). done: is called after
        every step of the pictures.
    """
    targets = _targets(program)
    efforts = [(pictures, steps, math.ceil(together if together >= 1 else together * len(targets)))
               for pictures, steps, together in _EFFORTS]  # fmt: skip
    pictures, steps, together = next((e for e in efforts if _work(program, targets, *e) <= _WORK), efforts[-1])
    climb = _Climb(single(program), within, examples, known, torch.Generator().manual_seed(0))
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
    return math.prod(step.shape) * (math.prod(weights[1:]) + _ELEMENT)


def _last_uses(program: Program) -> dict[str, list[str]]:
    """Values that nothing reads behind a step, by its name."""
    last = {name: step.name for step in program.steps for name in step.inputs}
    found: dict[str, list[str]] = {}
    for name, step in last.items():
        found.setdefault(step, []).append(name)
    return found


class _Climb:
    """Inputs of the range that grow towards one value after another."""

    def __init__(self, program: Program, within: InputRange, examples: Tensor, known: tuple[Tensor, Reach] | None,
                 draw: torch.Generator):  # fmt: skip
        shape = program.public.sample_shape
        by_channel_shape = (-1, *(1,) * (len(shape) - 1)) if shape else ()
        ends = (torch.from_numpy(end).float().reshape(by_channel_shape) for end in (within.low, within.high))
        self.low, self.high = (end.expand(shape) for end in ends)
        self.program, self.within, self.known, self.draw = program, within, known, draw
        self.order = {name: i for i, name in enumerate([*program.public.inputs, *(s.name for s in program.steps)])}
        self.gone = _last_uses(program)
        self.examples = torch.minimum(torch.maximum(examples.float(), self.low), self.high)

    def towards(self, groups: list[list[str]], pictures: int, steps: int) -> Iterator[Reach]:
        """What all values reach, step by step, on pictures that climb for each group, of values up to its last one."""
        span, count = self.high - self.low, 2 * pictures
        home = self.examples[torch.arange(count) % len(self.examples)]
        own = [home if self.within.statistics else self._start(home, group) for group in groups]
        last = [max(map(self.order.__getitem__, group)) for group in groups]
        sooner = sorted(range(len(groups)), key=last.__getitem__)
        x, home = torch.cat([own[i] for i in sooner]), home.repeat(len(groups), *(1,) * (home.dim() - 1))
        onward = torch.zeros_like(x)
        for k in range(steps + 1):
            x = self._let_in(x, home)
            with torch.set_grad_enabled(k < steps):
                found, largest, at = self._seen(x, [groups[i] for i in sooner], count)
            yield found
            if k == steps:
                return
            slope = self._slope(largest, at)
            typical = slope.abs().flatten(1).mean(1).clamp_min(1e-30).reshape(-1, *(1,) * (slope.dim() - 1))
            onward = _ONWARD * onward + slope / typical
            x = x + _FIRST * (1 - k / (steps + 1)) * span * onward.sign()
            x = torch.minimum(torch.maximum(x, self.low), self.high)

    def _start(self, like: Tensor, group: list[str]) -> Tensor:
        """Noise, but one picture of each sign: those that the values of the group are largest on."""
        noise = self.low + (self.high - self.low) * torch.rand(like.shape, generator=self.draw)
        if self.known is None:
            return noise
        pictures, reach = self.known
        sizes = sum(np.log(np.maximum(reach[name].max(1, initial=0.0), 1e-30)) for name in group if name in reach)
        best = np.argsort(-np.broadcast_to(sizes, len(pictures)), kind="stable")[:2]
        return torch.cat([pictures[best.copy()].to(noise), noise[len(best) :]])

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
        program = self.program
        waiting = [{*group} for group in groups]
        reach: Reach = {}
        largest: list[Tensor] = []
        values: dict[str, Tensor] = {}

        def see(name: str, value: Tensor) -> None:
            values[name] = value
            reach[name] = np.nan_to_num(by_channel(value.detach()), nan=math.inf, posinf=math.inf)
            for i, group in enumerate(waiting):
                if name in group:
                    rows = value[i * count : (i + 1) * count].reshape(count, -1)
                    largest.append(torch.stack([rows[::2].amax(1), -rows[1::2].amin(1)], 1).flatten())
                    group.remove(name)
            done = 0
            while waiting and not waiting[0]:
                del waiting[0]
                done += count
            if done:
                values.update({name: value[done:] for name, value in values.items()})

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
