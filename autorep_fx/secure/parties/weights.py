"""The server's numbers, laid out once per model for every inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..plan import linear
from ..plan.plan import Plan
from ..plan.ring import narrowed
from ..plan.server_numbers import Numbers


class Weights:
    """Sessions may share it.

    Attributes:
        packed: weights by step, as :func:`~..plan.linear.apply` takes them.
        constants: what the server alone knows and adds, by step.
    """

    def __init__(self, plan: Plan, numbers: Mapping[str, Numbers]):
        self.packed: dict[str, Any] = {}
        self.constants: dict[str, np.ndarray] = {}
        for step in plan.steps:
            mine = numbers.get(step.name, Numbers())
            if mine.constant is not None:
                self.constants[step.name] = narrowed(mine.constant, step.attrs.get("wire", step.width))
            if step.op == "map":
                self.packed[step.name] = linear.pack(step, mine.of_map, public=True, bits=mine.bits)

    def __repr__(self) -> str:
        return f"Weights({len(self.packed)} layers)"
