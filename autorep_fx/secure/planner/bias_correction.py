"""Constants that take out what rounded weights shift, channel by channel.

A weight that is rounded errs by the same in every run, and behind an activation values have a mean, so a layer's result
is off by ``(W' - W) E[x]``, a constant that the layers behind pass on. The server's constants take it out again:
layer after layer the fixed-point model is compared with the program on examples, and each channel's mean is put right.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.2;
there from the batch norms' statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from ..plan.plan import Plan, Step
from ..plan.ring import encode
from ..plan.server_numbers import Numbers
from ..plan.simulate import watch


def centered(
    plan: Plan,
    numbers: Mapping[str, Numbers],
    examples: np.ndarray,
    exact: Mapping[str, Tensor],
    *,
    nearest: bool = False,
) -> dict[str, Numbers]:
    """The server's numbers with every layer's mean put right.

    exact: values of the program on ``examples`` by name, of which a step of the plan has the same. nearest: as of
    :func:`~..plan.simulate.simulate`.
    """
    found = dict(numbers)

    def see(step: Step, value: np.ndarray) -> np.ndarray | None:
        if step.op not in ("map", "constant") or step.name not in exact:
            return None
        off = exact[step.name].numpy() - value
        mean = off.mean((0, *range(2, off.ndim)), keepdims=True)[0]
        own, moved = found[step.name], encode(mean, step.frac_bits)
        constant = moved if own.constant is None else own.constant + moved
        found[step.name] = replace(own, constant=np.ascontiguousarray(constant))
        return mean

    watch(plan, numbers, examples, np.random.default_rng(0), see, nearest=nearest)
    return found
