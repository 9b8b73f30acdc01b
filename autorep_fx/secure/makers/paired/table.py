"""How the correlations of each operation that has masked wires are made by two."""

from __future__ import annotations

from ...plan.plan import Plan, node_of
from ...program.collected import collected
from . import operations
from .making import Making

#: By operation.
MAKING: dict[str, Making] = {name: found.MAKING for name, found in collected(operations).items()}


def check_made(plan: Plan) -> None:
    """Raise ValueError where a step needs what two alone do not make."""
    for step in plan.steps:
        if step.masked and step.op not in MAKING:
            raise ValueError(
                f"'{node_of(step.name)}' multiplies two private matrices, and nobody makes the correlations for that "
                "without a dealer: both factors are as wide as the ring. Run it with one (dealer=True)"
            )
