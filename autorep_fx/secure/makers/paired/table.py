"""How the correlations of each operation that has masked wires are made by two."""

from __future__ import annotations

from ...program.collected import collected
from . import operations
from .making import Making

MAKING: dict[str, Making] = {name: found.MAKING for name, found in collected(operations).items()}
