"""How the correlations of each operation that has masked wires are made by two."""

from __future__ import annotations

from ...plan.plan import Plan, Step, node_of
from ...program.collected import collected
from . import operations
from .making import Encrypted, Making

#: By operation.
MAKING: dict[str, Making] = {name: found.MAKING for name, found in collected(operations).items()}


def check_made(plan: Plan) -> None:
    """Raise ValueError where a step needs what two alone do not make."""
    for step in plan.steps:
        if step.masked and step.op not in MAKING:
            raise ValueError(
                f"'{node_of(step.name)}' is a {step.op}, and nobody makes the correlations for that without a dealer. "
                "Run it with one (dealer=True)"
            )


def encrypted(step: Step) -> Encrypted | None:
    """What a step multiplies under encryption, beside maps."""
    return MAKING[step.op].encrypted if step.op in MAKING else None
