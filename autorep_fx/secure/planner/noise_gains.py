"""What an error of each value and weight does to the output: its noise gain, from derivatives.

A rounding adds an error that is independent of all others and has a variance of 1/12 of a unit squared, or 1/6 where it
is drawn (truncation; 1/4 without a dealer). To first order the output's variance grows by that times the sum of the
squared derivatives over all elements that are rounded. Derivatives of random sums of outputs, with signs +1 and -1,
have these sums as the expectation of their squares, so that a few backward passes give the gain of every value and
every weight.

Source: Constantinides, Cheung, Luk, "Wordlength Optimization for Linear Digital Signal Processing" (IEEE TCAD 2003);
the random signs are Hutchinson's ("A Stochastic Estimator of the Trace", 1990).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from ..program.plaintext import OPS, single, values
from ..program.program import Program, Step
from .known_gains import DRAWN, Gains
from .ranges import at_once
from .table import SOURCES

#: Samples that are looked at, at most; and random sums of each, where all have fewer outputs than are enough for one.
_SAMPLES, _DRAWS, _ENOUGH = 8, 2, 64

#: Roles of what is rounded to bits that are chosen, and no constant.
_ROUNDED = ("weight", "scale", "coeffs", "slope")


def gains(program: Program, x: Tensor, drawn: float = DRAWN) -> Gains:
    """Measured on ``x``, a batch (N, ...) of which the first samples are enough. In float32, where that has room.

    drawn: variance of a truncation.
    """
    x = x[:_SAMPLES]
    found = _gains(single(program), x.float(), drawn)
    return found if found.finite else _gains(program, x.double(), drawn)


def _gains(program: Program, x: Tensor, drawn: float) -> Gains:
    parts = x.split(max(at_once(program) // 2, 1))
    unbiased = (len(x) / max(len(x) - 1, 1)) ** 0.5
    means = _means(program, (values(program, part) for part in parts), len(x)) if len(parts) > 1 else None
    draw = torch.Generator().manual_seed(0)
    sums: dict[tuple, Tensor | float] = defaultdict(float)
    outputs, draws = [], 1
    for part in parts:
        walk = _Walk(program, part)
        outputs.append(walk.values[program.public.output].detach())
        draws = 1 if len(x) * outputs[0][0].numel() >= _ENOUGH else _DRAWS
        means = means or _means(program, [walk.values], len(x))
        for left in reversed(range(draws)):
            for key, square in walk.backward(draw, means, unbiased, last=not left).items():
                sums[key] = sums[key] + square
    y = torch.cat(outputs)
    variance = float((y - y.mean(0)).square().mean()) or float(y.square().mean()) or 1.0
    scale = 1 / (variance * y.numel() * draws)

    def of(what: str) -> dict:
        return {key[1] if len(key) == 2 else key[1:]: value * scale for key, value in sums.items() if key[0] == what}

    inputs: dict[str, list[np.ndarray]] = {}
    for (name, _), square in sorted(of("input").items(), key=itemgetter(0)):
        inputs.setdefault(name, []).append(square.numpy())
    return Gains(
        {name: float(square) for name, square in of("value").items()},
        inputs,
        {key: square.numpy() for key, square in of("secret").items()},
        {name: square.numpy() for name, square in of("relative").items()},
        drawn / variance,
        drawn,
    )


def _means(program: Program, parts: Iterable[Mapping[str, Tensor]], count: int) -> dict[str, Tensor]:
    """Mean of every channel of what the centred steps read, shaped to broadcast; zero where one sample has to do."""
    found: dict[str, Tensor | float] = defaultdict(float)
    for known in parts:
        for name in {step.inputs[0] for step in program.steps if SOURCES[step.op].slopes is not None}:
            x = known[name].detach()
            found[name] = found[name] + x.mean((0, *range(2, x.dim())), keepdim=True) * len(x)
    return {name: total / count * (count > 1) for name, total in found.items()}


class _Walk:
    """The program with a graph of derivatives, for one part of the batch."""

    def __init__(self, program: Program, x: Tensor):
        self.program = program
        given = program.public.given(x.detach())
        self.values = {name: part.clone().requires_grad_() for name, part in given.items()}
        self.wanted: dict[tuple, Tensor] = {}
        self.centred: dict[str, Step] = {}
        self.scales = {step.name: SOURCES[step.op].scales for step in program.steps}
        for step in program.steps:
            self.values[step.name] = self._step(step)

    def _step(self, step: Step) -> Tensor:
        inputs, secrets = [self.values[name] for name in step.inputs], self.program.secrets(step)
        if SOURCES[step.op].truncated:  # something else may read the same
            inputs = [x.view_as(x) for x in inputs]
            self.wanted.update({("input", step.name, i): x for i, x in enumerate(inputs)})
        if SOURCES[step.op].slopes is not None:
            self.centred[step.name] = step
            return OPS[step.op](step, secrets, *inputs)
        own = {role: secret.clone().requires_grad_() for role, secret in secrets.items() if role in _ROUNDED}
        self.wanted.update({("secret", step.name, role): secret for role, secret in own.items()})
        return OPS[step.op](step, {**secrets, **own}, *inputs)

    def backward(
        self, draw: torch.Generator, means: Mapping[str, Tensor], unbiased: float, *, last: bool
    ) -> dict[tuple, Tensor | float]:
        """Squares of the derivatives of one random sum of the outputs, by what they are of.

        means: of the channels. unbiased: what makes deviations from them those from the means of all inputs. last:
            whether it is not asked again.
        """
        y = self.values[self.program.public.output]
        signs = torch.randint(0, 2, y.shape, generator=draw).to(y) * 2 - 1
        wanted = {**{("value", name): value for name, value in self.values.items()}, **self.wanted}
        wanted = {key: tensor for key, tensor in wanted.items() if tensor.requires_grad}
        found: dict[tuple, Tensor | float] = {}

        def see(key: tuple, g: Tensor) -> None:
            if key[0] == "value" and key[1] in self.centred:
                step = self.centred[key[1]]
                # What the weights multiply, about its mean.
                around = (self.values[step.inputs[0]].detach() - means[step.inputs[0]]) * unbiased
                found["secret", step.name, "weight"] = self._of_weights(step, around, g)
            found.update(self._squares(key, g, wanted[key]))

        # A derivative is looked at when it is there and kept no longer: those of all values would be as large as these.
        hooks = [tensor.register_hook(partial(see, key)) for key, tensor in wanted.items()]
        try:
            # Of a number: for the derivative of anything else torch imports sympy.
            leaves = [tensor for tensor in wanted.values() if tensor.is_leaf]
            torch.autograd.grad((y * signs).sum(), leaves, retain_graph=not last, allow_unused=True)
        finally:
            for hook in hooks:
                hook.remove()
        for key, tensor in wanted.items():
            if key not in found:  # nothing depends on it
                see(key, torch.zeros_like(tensor))
        return found

    def _of_weights(self, step: Step, around: Tensor, g: Tensor) -> Tensor:
        (around, most), (g, most_of_g) = _in_units(around), _in_units(g)
        weight = self.program.secrets(step)["weight"]
        return SOURCES[step.op].slopes(step, weight, around, g) * (most * most_of_g) ** 2

    def _squares(self, key: tuple, g: Tensor, value: Tensor) -> Iterator[tuple[tuple, Tensor | float]]:
        """Of what ``g`` is the derivative by, which is ``value``."""
        if key[0] == "secret":
            yield key, g.double().square()
            return
        units, most = _in_units(g)
        squares = units.square_()
        if key[0] == "input":
            yield key, squares.sum(0).flatten().double() * most**2
            return
        yield key, float(squares.sum()) * most**2
        scales = self.scales.get(key[1])
        if scales:
            along = g.double() * value.detach()
            positions = scales == "position"
            yield ("relative", key[1]), along.square().sum(0).flatten() if positions else along.sum().square()


def _in_units(g: Tensor) -> tuple[Tensor, float]:
    """``g`` in units of its largest, and that one: derivatives may be so small that float32 has no squares of them."""
    most = float(torch.maximum(g.amax(), -g.amin())) if g.numel() else 0.0
    return (g / most if 0 < most < math.inf else g.clone()), most if most > 0 else 1.0
