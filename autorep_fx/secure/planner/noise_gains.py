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

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from ..program.plaintext import OPS, single, values
from ..program.program import Program, Step
from .known_gains import DRAWN, Gains
from .ranges import at_once
from .table import SOURCES

#: Samples that are looked at, and backward passes of each, at most.
_SAMPLES, _DRAWS = 8, 2

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
        drawn / variance,
        drawn,
    )


def _means(program: Program, parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Mean of every channel of what the centred steps read, shaped to broadcast; zero where one sample has to do."""
    found: dict[str, Tensor | float] = defaultdict(float)
    for part in parts:
        known = values(program, part)
        for name in {step.inputs[0] for step in program.steps if SOURCES[step.op].centred}:
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
        given = program.public.given(x.detach())
        self.values = {name: part.clone().requires_grad_() for name, part in given.items()}
        self.wanted: dict[tuple, Tensor] = {}
        self.scales = {step.name: SOURCES[step.op].scales for step in program.steps}
        for step in program.steps:
            self.values[step.name] = self._step(step)

    def _step(self, step: Step) -> Tensor:
        inputs, secrets = [self.values[name] for name in step.inputs], self.program.secrets(step)
        if SOURCES[step.op].truncated:  # something else may read the same
            inputs = [x.view_as(x) for x in inputs]
            self.wanted.update({("input", step.name, i): x for i, x in enumerate(inputs)})
        own = {role: secret.clone().requires_grad_() for role, secret in secrets.items() if role in _ROUNDED}
        self.wanted.update({("secret", step.name, role): secret for role, secret in own.items()})
        if not SOURCES[step.op].centred:
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
            if key[-1] == "weight" and key[0] == "secret":  # millions, of which the sums of the channels are asked for
                result.append((key, torch.linalg.vector_norm(g.flatten(1), dim=1, dtype=torch.float64).square()))
                continue
            # Derivatives may be so small that float32 has no squares of them.
            g = g.double()
            if key[0] == "value":
                result.append((key, g.square().sum()))
                along = g * tensor.detach()
                if self.scales.get(key[1]) == "position":
                    result.append((("relative", key[1]), along.square().sum(0).flatten()))
                elif self.scales.get(key[1]) == "wholly":
                    result.append((("relative", key[1]), along.sum().square()))
            elif key[0] == "input":
                result.append((key, g.square().sum(0).flatten()))
            else:
                result.append((key, g.square()))
        return result
