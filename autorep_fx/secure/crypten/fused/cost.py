"""What a run sends online, from the program alone: for each correlation what opening with it takes."""

from __future__ import annotations

from math import prod

from ...program.program import Step
from ..fixed_point import FixedPublic
from ..online import Online
from . import carry, plan
from .correlations import Compare, Correlation, Multiply, Product


def online(public: FixedPublic, batch: int) -> dict[str, Online]:
    """As :func:`autorep_fx.secure.crypten.cost.online`."""
    needs = plan.plan(public, batch).needs
    costs = {}
    for step in public.steps:
        if needs.get(step.name):
            sent = [_sent(correlation) for correlation in needs[step.name].values()]
            costs[step.name] = Online(_rounds(step, needs[step.name]), *map(sum, zip(*sent)))
    costs["output"] = Online(1, 8 * batch * prod(public.output_shape), 0)
    return costs


def _sent(correlation: Correlation) -> tuple[int, int]:
    """Bytes from the server and from the client."""
    if isinstance(correlation, Product):
        return 0, 8 * prod(correlation.x)
    if isinstance(correlation, Compare):
        planes = len(carry.OPERANDS) * sum(correlation.levels) + 1
        words = correlation.n + planes * correlation.words
    else:
        words = prod(correlation.x) * (2 if isinstance(correlation, Multiply) else 1)
    return 8 * words, 8 * words


def _rounds(step: Step, needs: dict[str, Correlation]) -> int:
    comparisons = [len(c.levels) + 2 for c in needs.values() if isinstance(c, Compare)]
    if step.op == "max_pool2d":
        return sum(comparisons)
    if step.op != "hybrid":
        return 1
    kept = sum(comparisons) + sum(role in needs for role in ("slope", "power1", "power2"))
    return max(kept, 2 if "square" in needs else 0, step.attrs["degree"] if "lead" in needs else 0)
