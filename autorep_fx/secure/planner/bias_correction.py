"""Constants that take out what rounded weights shift, channel by channel.

A weight that is rounded errs by the same in every run, and behind an activation values have a mean, so a layer's result
is off by ``(W' - W) E[x]``, a constant that the layers behind pass on. The server's constants take it out again:
layer after layer the fixed-point model is compared with the program on examples, and each channel's mean is put right.

Few examples show what they themselves were off by as well: where N samples are off by m on average and scatter by v,
about ``v / N`` of ``m**2`` is of these samples alone, and all others would be off by it. So of m only the part ``1 -
(v / N) / m**2`` is taken out (both summed over the layer's channels): all of it where every sample is off by the same,
nothing where that is noise, or where there is one sample.

Not so of what a normalisation divides by. Where its input is a little too large, so is that, and the quotient is right:
a number that is added to the divisor, because the mean of all squares is too large, would make it wrong.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.2;
there from the batch norms' statistics. The part: the positive-part estimator of James and Stein (1961).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from ..plan.plan import Plan, Step
from ..plan.ring import encode
from ..plan.server_numbers import Numbers
from ..plan.simulate import watch


def means(exact: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Of every channel of each sample of a program's values by name, in shapes (N, C, 1, ...)."""
    return {name: (value.double().mean([*range(2, value.ndim)], keepdim=True) if value.ndim > 2 else value).numpy()
            for name, value in exact.items()}  # fmt: skip


class Centering:
    """Puts every layer's mean right while a plan is walked.

    Args:
        numbers: the server's.
        wanted: :func:`means` of the program's values on the examples, of which a step of the plan has the same.

    Attributes:
        numbers: as far as it has seen the steps, with constants that do.
        part: of what the last of these was off by, how much is taken out.
    """

    def __init__(self, numbers: Mapping[str, Numbers], wanted: Mapping[str, np.ndarray]):
        self.numbers, self.wanted, self.part = dict(numbers), wanted, 0.0

    def see(self, step: Step, value: np.ndarray) -> np.ndarray | None:
        """What is to be added to the step, whose ``value`` (N, ...) on the examples is in ring elements."""
        if step.op not in ("map", "constant") or step.name not in self.wanted:
            return None
        there = value.view(f"i{value.itemsize}").mean((*range(2, value.ndim),), keepdims=True, dtype=np.float64)
        off = self.wanted[step.name] - np.ldexp(there, -step.frac_bits)
        mean, self.part = off.mean(0), _of_all(off)
        if not self.part:
            return None
        mean *= self.part
        own, moved = self.numbers[step.name], encode(mean, step.frac_bits)
        constant = moved if own.constant is None else own.constant + moved
        self.numbers[step.name] = replace(own, constant=np.ascontiguousarray(constant))
        return mean

    def of_others(self, count: int) -> float:
        """How many times as far off others are as these ``count`` samples, whose own noise has moved the mean: it is
        the less theirs for that, and the others have it as well."""
        part = self.part
        return math.sqrt((1 + part**2 / count) / (1 - part * (2 - part) / count)) if part and count > 1 else 1.0


def _of_all(off: np.ndarray) -> float:
    """The part of the mean that is everywhere, where samples (N, C, ...) are off by that."""
    if len(off) < 2:
        return 0.0
    by_chance, there = off.var(0, ddof=1).sum() / len(off), np.square(off.mean(0)).sum()
    return max(1 - by_chance / there, 0.0) if there else 0.0


def centered(
    plan: Plan,
    numbers: Mapping[str, Numbers],
    examples: np.ndarray,
    exact: Mapping[str, Tensor],
    *,
    nearest: bool = False,
) -> dict[str, Numbers]:
    """The server's numbers with every layer's mean put right.

    exact: values of the program on ``examples`` by name. nearest: as of :func:`~..plan.simulate.simulate`.
    """
    centering = Centering(numbers, means(exact))
    watch(plan, numbers, examples, np.random.default_rng(0), centering.see, nearest=nearest)
    return centering.numbers
