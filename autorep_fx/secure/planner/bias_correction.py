"""Constants that take out what rounded weights shift, channel by channel.

A weight that is rounded errs by the same in every run, and behind an activation values have a mean, so a layer's result
is off by ``(W' - W) E[x]``, a constant that the layers behind pass on. The server's constants take it out again:
layer after layer the fixed-point model is compared with the program on examples, and each channel's mean is put right.

Not so of what a normalisation divides by. Where its input is a little too large, so is that, and the quotient is right:
a number that is added to the divisor, because the mean of all squares is too large, would make it wrong.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.2;
there from the batch norms' statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..plan.plan import Plan, Step
from ..plan.ring import encode
from ..plan.server_numbers import Numbers
from ..plan.simulate import watch


def means(exact: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Of every channel of a program's values by name, in a shape that broadcasts to a sample."""
    return {name: value.mean(_all_but_channels(value.ndim), keepdim=True, dtype=torch.float64)[0].numpy()
            for name, value in exact.items()}  # fmt: skip


class Centering:
    """Puts every layer's mean right while a plan is walked.

    Args:
        numbers: the server's.
        wanted: :func:`means` of the program's values on the examples, of which a step of the plan has the same.

    Attributes:
        numbers: as far as it has seen the steps, with constants that do.
    """

    def __init__(self, numbers: Mapping[str, Numbers], wanted: Mapping[str, np.ndarray]):
        self.numbers, self.wanted = dict(numbers), wanted

    def see(self, step: Step, value: np.ndarray) -> np.ndarray | None:
        """What is to be added to the step, whose ``value`` (N, ...) on the examples is in ring elements."""
        if step.op not in ("map", "constant") or step.name not in self.wanted:
            return None
        there = value.view(f"i{value.itemsize}").mean(_all_but_channels(value.ndim), keepdims=True, dtype=np.float64)[0]
        mean = self.wanted[step.name] - np.ldexp(there, -step.frac_bits)
        own, moved = self.numbers[step.name], encode(mean, step.frac_bits)
        constant = moved if own.constant is None else own.constant + moved
        self.numbers[step.name] = replace(own, constant=np.ascontiguousarray(constant))
        return mean


def _all_but_channels(axes: int) -> tuple[int, ...]:
    return 0, *range(2, axes)


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
