"""Which operations a plan may have."""

from __future__ import annotations

from ..program.collected import collected
from . import operations
from .operation import Operation

OPERATIONS: dict[str, Operation] = {name: found.OPERATION for name, found in collected(operations).items()}
