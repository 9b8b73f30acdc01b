"""Whether fixed point is precise enough for a network: its model against the network, on examples, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..plan.plan import Plan, Step
from ..plan.server_numbers import Numbers
from ..plan.simulate import watch
from ..program.plaintext import execute, off_by, values
from ..program.program import Program
from .ranges import at_once

#: Samples that are looked at, and of which margins are known, at most.
_SAMPLES, _MARGINS = 32, 256

#: Part of the samples that must keep their class; the largest standard error; and one with which no class is asked for.
_SAME_CLASS, STANDARD_ERROR, _FINE = 0.995, 0.02, 0.005


@dataclass(frozen=True)
class Precision:
    """How far the fixed-point model is off.

    Attributes:
        error: of the output, as :func:`~autorep_fx.secure.program.plaintext.off_by` has it.
        standard_error: root mean square of what the output is off by, as a part of its standard deviation over samples.
        same_class: part of the samples whose largest output stays the largest, expected; 1 where the output is no row
            of scores.
        step: the first step that is off by half as much of its own values, or more.
    """

    error: float
    standard_error: float
    same_class: float
    step: str

    def holds(self, max_error: float, standard_error: float | None) -> bool:
        """Whether it is within both bounds; with no second one, whether classes stay what they are."""
        if standard_error is None:
            same = self.same_class >= _SAME_CLASS or self.standard_error <= _FINE
            return self.error <= max_error and self.standard_error <= STANDARD_ERROR and same
        return self.error <= max_error and self.standard_error <= standard_error


class Look:
    """The examples that are looked at, and what each step of a program gives on them.

    program: with the values that a plan has. original: what it was made from, if its output is to be the truth.
    """

    def __init__(self, program: Program, original: Program | None, examples: Tensor):
        self.x = examples[: max(min(_SAMPLES, at_once(program)), 2)].detach().to("cpu", torch.float64)
        self.exact = values(program, self.x)
        self.truth = self.exact[program.public.output] if original is None else execute(original, self.x)
        self.margins = torch.empty(0)
        if self.truth.dim() == 2 and self.truth.shape[1] > 1:  # rows of scores
            parts = examples[:_MARGINS].split(at_once(program))
            self.margins = torch.cat([_margins(execute(program, part)) for part in parts])

    def at(self, plan: Plan, numbers: dict[str, Numbers]) -> Precision:
        """Compare one draw of what a run returns with the program in float64."""
        exact = {**self.exact, plan.output.name: self.truth}
        errors: dict[str, float] = {}
        output: dict[str, Tensor] = {}

        def see(step: Step, value: np.ndarray) -> None:
            if step is plan.output:
                output["found"] = torch.from_numpy(value)
            if step.name in exact and step.op != "input":
                errors[step.name] = off_by(torch.from_numpy(value), exact[step.name])

        watch(plan, numbers, self.x.numpy(), np.random.default_rng(0), see)
        error, found = errors[plan.output.name], output["found"]
        first = next((name for name, off in errors.items() if off >= error / 2), plan.output.name)
        return Precision(error, _standard_error(found, self.truth), self._same_class(found), first)

    def _same_class(self, found: Tensor) -> float:
        """Few samples show no class that one in two hundred loses. The margins of many are known, and the errors of a
        few: with differences of scores off by a normal error of that size, so many keep their class."""
        if not len(self.margins):
            return 1.0
        off = found - self.truth
        deviation = (2 * (off - off.mean(1, keepdim=True)).square().sum() / (len(off) * (off.shape[1] - 1))).sqrt()
        lost = torch.special.ndtr(-self.margins / deviation.clamp_min(1e-300))
        return float(1 - lost.mean())


def measured(program: Program, plan: Plan, numbers: dict[str, Numbers], examples: Tensor) -> Precision:
    """How far off one draw is on ``examples``."""
    return Look(program, None, examples).at(plan, numbers)


def _standard_error(found: Tensor, exact: Tensor) -> float:
    if not exact.numel():
        return 0.0
    spread = float((exact - exact.mean(0)).square().mean().sqrt())
    off = float((found - exact).square().mean().sqrt())
    return off / (spread or float(exact.abs().max()) or 1.0)


def _margins(scores: Tensor) -> Tensor:
    """By how much the largest score of each sample (N, classes) exceeds the next one."""
    best = scores.topk(2, 1).values
    return best[:, 0] - best[:, 1]
