"""What the server makes of its weights once, for all sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...plan.plan import Plan
from ...plan.server_numbers import Numbers
from . import maps
from .table import encrypted


class EncryptedMaps:
    """Weights by step, as :func:`~.maps.respond` takes them, laid out for one sample; ``transform_bits`` as of
    half.py's ``Extension``."""

    def __init__(self, plan: Plan, numbers: Mapping[str, Numbers], transform_bits: int = 0):
        self.weights: dict[str, Any] = {
            step.name: maps.prepare_weight(step, numbers[step.name], transform_bits=transform_bits)
            for step in plan.steps
            if step.op == "map"
        }

    def __repr__(self) -> str:
        return f"EncryptedMaps({len(self.weights)} layers)"


def widths(plan: Plan) -> list[int]:
    """Of the rings in which something is encrypted."""
    return sorted({step.width for step in plan.steps if step.op == "map" or encrypted(step)})
