"""What an error of each value and weight does to the output: its noise gain, from derivatives.

A rounding adds an error that is independent of all others and has a variance of 1/12 of a unit squared, or 1/6 where it
is drawn (truncation). To first order the output's variance grows by that times the sum of the squared derivatives over
all elements that are rounded. Derivatives of random sums of outputs, with signs +1 and -1, have these sums as the
expectation of their squares, so that a few backward passes give the gain of every value and every weight.

Source: Constantinides, Cheung, Luk, "Wordlength Optimization for Linear Digital Signal Processing" (IEEE TCAD 2003);
the random signs are Hutchinson's ("A Stochastic Estimator of the Trace", 1990).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...text import brief
from ..program.plaintext import OPS, values
from ..program.program import Program, Step
from .ranges import at_once

#: Variance of a rounding to the nearest, and of one that is drawn, in squared units.
ROUNDED, DRAWN = 1 / 12, 1 / 6

#: Samples that are looked at, and backward passes of each, at most.
_SAMPLES, _DRAWS = 8, 2

#: Steps whose weights' rounding ``bias_correction.py`` keeps from shifting their results.
_CENTRED = ("conv2d", "linear")

#: Roles of what is rounded to bits that are chosen, and no constant.
_ROUNDED = ("weight", "scale", "coeffs", "slope")

#: Steps with a public factor.
_SCALES = ("scale", "avg_pool2d", "mean")


@dataclass(frozen=True)
class Gains:
    """What a rounding to whole numbers adds to the output's variance, as a part of it; 4**-f of that for f bits more.

    All are None where they are not known.
    """

    _values: dict[str, float]
    _inputs: dict[str, list[np.ndarray]]
    _secrets: dict[tuple[str, str], np.ndarray]
    _relative: dict[str, np.ndarray]
    output: float | None

    __repr__ = brief

    def rounded(self, name: str) -> float | None:
        """Of a value to the nearest."""
        return ROUNDED * self._values[name] if name in self._values else None

    def truncated(self, name: str) -> float | None:
        """Of a value, drawn."""
        return DRAWN * self._values[name] if name in self._values else None

    def site(self, name: str) -> np.ndarray | None:
        """Of what a site reads, drawn, by position (P,)."""
        return DRAWN * self._inputs[name][0] if name in self._inputs else None

    def product(self, name: str, scales: tuple[int, int]) -> float | None:
        """Of both factors, in units of 2**scale each."""
        if name not in self._inputs:
            return None
        return DRAWN * sum(4.0**scale * g.sum() for scale, g in zip(scales, self._inputs[name]))

    def weight(self, name: str, role: str) -> np.ndarray | None:
        """Of a layer's weights or factors, by output channel (C,)."""
        found = self._secrets.get((name, role))
        return None if found is None else ROUNDED * found.reshape(len(found), -1).sum(1)

    def squares(self, name: str, square: np.ndarray) -> float | None:
        """Of a site's factors (C,): of the square in the channels ``square``, of the line in the others."""
        found = self._secrets.get((name, "coeffs"))
        return None if found is None else ROUNDED * np.where(square, found[-1], found[1])

    def line(self, name: str) -> np.ndarray | None:
        """Of a site's slopes (C,)."""
        found = self._secrets.get((name, "coeffs"))
        return None if found is None else ROUNDED * found[1]

    def relative(self, name: str) -> np.ndarray | None:
        """Of factors that multiply a value, in proportion to each: of a site's result by position (P,), of a public
        factor's as a whole."""
        return ROUNDED * self._relative[name] if name in self._relative else None


#: Of a program that nobody looked at.
UNKNOWN = Gains({}, {}, {}, {}, None)


def gains(program: Program, x: Tensor) -> Gains:
    """Measured on ``x``, a batch (N, ...) of which the first samples are enough."""
    x = x[:_SAMPLES]
    parts = x.split(max(at_once(program) // 8, 1))
    means = _means(program, parts)
    draw = torch.Generator().manual_seed(0)
    sums: dict[tuple, Tensor | float] = defaultdict(float)
    outputs = []
    for part in parts:
        walk = _Walk(program, part, means, (len(x) / max(len(x) - 1, 1)) ** 0.5)
        outputs.append(walk.values[program.public.output].detach())
        for _ in range(_DRAWS):
            for key, square in walk.backward(draw):
                sums[key] = sums[key] + square
    y = torch.cat(outputs)
    variance = float((y - y.mean(0)).square().mean()) or float(y.square().mean()) or 1.0
    scale = 1 / (variance * y.numel() * _DRAWS)

    def of(what: str) -> dict:
        return {key[1] if len(key) == 2 else key[1:]: value * scale for key, value in sums.items() if key[0] == what}

    inputs: dict[str, list[np.ndarray]] = {}
    for (name, _), square in of("input").items():
        inputs.setdefault(name, []).append(square.numpy())
    return Gains(
        {name: float(square) for name, square in of("value").items()},
        inputs,
        {key: square.numpy() for key, square in of("secret").items()},
        {name: square.numpy() for name, square in of("relative").items()},
        DRAWN / variance,
    )


def _means(program: Program, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Mean of every channel of what the centred steps read, shaped to broadcast; zero where one sample has to do."""
    found: dict[str, Tensor | float] = defaultdict(float)
    for part in parts:
        known = values(program, part)
        for name in {step.inputs[0] for step in program.steps if step.op in _CENTRED}:
            x = known[name]
            found[name] = found[name] + x.mean((0, *range(2, x.dim())), keepdim=True) * len(part)
    count = sum(map(len, parts))
    return {name: total / count * (count > 1) for name, total in found.items()}


class _Walk:
    """The program with a graph of derivatives, for one part of the batch.

    means: of the channels. unbiased: what makes deviations from them those from the means of all inputs.
    """

    def __init__(self, program: Program, x: Tensor, means: dict[str, Tensor], unbiased: float):
        self.program, self.means, self.unbiased = program, means, unbiased
        self.values = {program.public.input: x.detach().clone().requires_grad_()}
        self.wanted: dict[tuple, Tensor] = {}
        self.ops = {step.name: step.op for step in program.steps}
        for step in program.steps:
            self.values[step.name] = self._step(step)

    def _step(self, step: Step) -> Tensor:
        inputs, secrets = [self.values[name] for name in step.inputs], self.program.secrets(step)
        if step.op in ("hybrid", "mul"):  # something else may read the same
            inputs = [x.view_as(x) for x in inputs]
            self.wanted.update({("input", step.name, i): x for i, x in enumerate(inputs)})
        own = {role: secret.clone().requires_grad_() for role, secret in secrets.items() if role in _ROUNDED}
        self.wanted.update({("secret", step.name, role): secret for role, secret in own.items()})
        if step.op not in _CENTRED:
            return OPS[step.op](step, {**secrets, **own}, *inputs)
        # What the weights multiply, about its mean: nothing is added, and the derivatives are those.
        (x,), weight = inputs, own["weight"]
        around = (x.detach() - self.means[step.inputs[0]]) * self.unbiased
        return OPS[step.op](step, secrets, x) + OPS[step.op](step, {"weight": weight - weight.detach()}, around)

    def backward(self, draw: torch.Generator) -> list[tuple[tuple, Tensor | float]]:
        """Squares of the derivatives of one random sum of the outputs, by what they are of."""
        y = self.values[self.program.public.output]
        signs = torch.randint(0, 2, y.shape, generator=draw).to(y) * 2 - 1
        wanted = {**{("value", name): value for name, value in self.values.items()}, **self.wanted}
        wanted = {key: tensor for key, tensor in wanted.items() if tensor.requires_grad}
        found = torch.autograd.grad(y, list(wanted.values()), signs, retain_graph=True, allow_unused=True)
        result: list[tuple[tuple, Tensor | float]] = []
        for (key, tensor), g in zip(wanted.items(), found):
            g = torch.zeros_like(tensor) if g is None else g
            if key[0] == "value":
                result.append((key, g.square().sum()))
                along = g * tensor.detach()
                if self.ops.get(key[1]) == "hybrid":
                    result.append((("relative", key[1]), along.square().sum(0).flatten()))
                elif self.ops.get(key[1]) in _SCALES:
                    result.append((("relative", key[1]), along.sum().square()))
            elif key[0] == "input":
                result.append((key, g.square().sum(0).flatten()))
            else:
                result.append((key, g.square()))
        return result
