"""The way of the blindings through a plan, as everyone goes it who knows them."""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np

from ..plan import local
from ..plan.plan import Plan, Step


def visited(
    plan: Plan, values: dict[str, np.ndarray], wanted: Container[str] | None = None
) -> Iterator[tuple[int, Step, list[np.ndarray]]]:
    """Every step that is not public and linear, in order: its index, the step, and the values of its inputs.

    The caller puts the step's own value into ``values``, if it has one. Public linear steps are computed here, and each
    value is forgotten after its last reader. ``wanted``: no step of a value that is not among these, and has none but
    by public steps, is visited; what others read of such values is left out.
    """
    gone = plan.last_uses()
    for index, step in enumerate(plan.steps):
        if wanted is not None and step.op in ("local", "constant") and step.name not in wanted:
            continue
        inputs = [values[name] for name in step.inputs if wanted is None or name in values]
        if step.op == "local":
            values[step.name] = local.apply(step, *inputs)
        else:
            yield index, step, inputs
        for name in gone.get(step.name, ()):
            values.pop(name, None)
