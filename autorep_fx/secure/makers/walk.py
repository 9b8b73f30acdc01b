"""The way of the blindings through a plan, as everyone goes it who knows them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..plan import local
from ..plan.plan import Plan, Step


def visited(plan: Plan, values: dict[str, np.ndarray]) -> Iterator[tuple[int, Step, list[np.ndarray]]]:
    """Every step that is not public and linear, in order: its index, the step, and the values of its inputs.

    The caller puts the step's own value into ``values``, if it has one. Public linear steps are computed here, and each
    value is forgotten after its last reader.
    """
    gone = plan.last_uses()
    for index, step in enumerate(plan.steps):
        inputs = [values[name] for name in step.inputs]
        if step.op == "local":
            values[step.name] = local.apply(step, *inputs)
        else:
            yield index, step, inputs
        for name in gone.get(step.name, ()):
            del values[name]
