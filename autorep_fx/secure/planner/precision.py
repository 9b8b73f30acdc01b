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

#: Samples that are looked at, those of the whole range, and of which margins are known, at most.
_SAMPLES, _OTHERS, _MARGINS = 32, 16, 256

#: Part of the samples that must keep their class; the largest standard error; and one with which no class is asked for.
_SAME_CLASS, STANDARD_ERROR, _FINE = 0.995, 0.02, 0.005

#: What an input of the whole range may be off by, as a part of its own output, for each part that ``max_error`` allows.
#: An output that is much smaller than the others' is no measure: at least so much of their median is.
ELSEWHERE, _SMALLEST = 2.5, 2.0**-4

#: What is off by no more than this many times as much is as good: another draw may be.
_AS_GOOD = 1.1


@dataclass(frozen=True)
class Precision:
    """How far the fixed-point model is off.

    Attributes:
        error: of the output, as :func:`~autorep_fx.secure.program.plaintext.off_by` has it.
        standard_error: root mean square of what the output is off by, as a part of its standard deviation over samples.
        same_class: part of the samples whose largest output stays the largest, expected; 1 where the output is no row
            of scores.
        elsewhere: largest difference on an input of the whole range, as a part of its largest output.
        step: the first step that is off by half as much of its own values, or more.
    """

    error: float
    standard_error: float
    same_class: float
    elsewhere: float
    step: str

    def holds(self, max_error: float, standard_error: float | None) -> bool:
        """Whether it is within both bounds; with no second one, whether classes stay what they are."""
        if self.beyond(max_error) > 1:
            return False
        if standard_error is None:
            same = self.same_class >= _SAME_CLASS or self.standard_error <= _FINE
            return self.standard_error <= STANDARD_ERROR and same
        return self.standard_error <= standard_error

    def as_good_as(self, other: Precision) -> bool:
        """Whether nothing is off by more than a tenth more."""
        pairs = ((self.error, other.error), (self.standard_error, other.standard_error),
                 (self.elsewhere, other.elsewhere), (1 - self.same_class, 1 - other.same_class))  # fmt: skip
        return all(own <= _AS_GOOD * others for own, others in pairs)

    def beyond(self, max_error: float) -> float:
        """The largest difference, on examples or elsewhere, as a part of what ``max_error`` allows."""
        return max(self.error, self.elsewhere / ELSEWHERE) / max_error


class Look:
    """The examples that are looked at, and what each step of a program gives on them.

    program: with the values that a plan has. original: what it was made from, if its output is to be the truth.
    others: inputs of the whole range, of which the output alone is looked at. nearest: how runs round, as of
    :func:`~..plan.simulate.simulate`.
    """

    def __init__(self, program: Program, original: Program | None, examples: Tensor, others: Tensor | None = None,
                 *, nearest: bool = False):  # fmt: skip
        self.nearest = nearest
        self.x = examples[: max(min(_SAMPLES, at_once(program)), 2)].detach().to("cpu", torch.float64)
        self.exact = values(program, self.x)
        self.truth = self.exact[program.public.output] if original is None else execute(original, self.x)
        self.others = self.x[:0] if others is None else others[: max(min(_OTHERS, at_once(program) // 2), 1)]
        self.truth_of_others = execute(original or program, self.others) if len(self.others) else self.truth[:0]
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
                errors[step.name] = off_by(torch.from_numpy(value[: len(self.x)]), exact[step.name])

        x = torch.cat([self.x, self.others]).numpy()
        watch(plan, numbers, x, np.random.default_rng(0), see, nearest=self.nearest)
        error, (found, others) = errors[plan.output.name], output["found"].split([len(self.x), len(self.others)])
        first = next((name for name, off in errors.items() if off >= error / 2), plan.output.name)
        return Precision(
            error, _standard_error(found, self.truth), self._same_class(found), self._elsewhere(others), first
        )

    def _elsewhere(self, found: Tensor) -> float:
        if not found.numel():
            return 0.0
        off, largest = (
            v.abs().reshape(len(v), -1).amax(1) for v in (found - self.truth_of_others, self.truth_of_others)
        )
        largest = largest.clamp(min=_SMALLEST * float(largest.median()))
        return float(torch.where(off > 0, off / largest.clamp_min(1e-300), 0.0).max())

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
