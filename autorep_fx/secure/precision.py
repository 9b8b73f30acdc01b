"""Whether fixed point is precise enough for a network: its model against the network, on examples, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .parties.model import watch
from .plaintext import execute, off_by, values
from .plan.numbers import Numbers
from .plan.plan import Plan, Step
from .plan.ranges import at_once
from .program import Program

#: Samples that are looked at, at most.
_SAMPLES = 16


@dataclass(frozen=True)
class Precision:
    """How far the fixed-point model is off.

    Attributes:
        error: of the output, as :func:`~autorep_fx.secure.plaintext.off_by` has it.
        step: the first step that is off by half as much of its own values, or more.
    """

    error: float
    step: str


def precision(
    program: Program, plan: Plan, numbers: dict[str, Numbers], examples: Tensor, original: Program | None = None
) -> Precision:
    """Compare one draw of what a run returns with the program in float64.

    original: what ``program`` was made from, if its output is to be the truth.
    """
    x = examples[: max(min(_SAMPLES, at_once(program)), 2)].detach().to("cpu", torch.float64)
    exact = values(program, x)
    exact[plan.output.name] = exact[program.public.output] if original is None else execute(original, x)
    errors: dict[str, float] = {}

    def see(step: Step, value: np.ndarray) -> None:
        if step.name in exact and step.op != "input":
            errors[step.name] = off_by(torch.from_numpy(value), exact[step.name])

    watch(plan, numbers, x.numpy(), np.random.default_rng(0), see)
    error = errors[plan.output.name]
    return Precision(error, next((name for name, found in errors.items() if found >= error / 2), plan.output.name))
