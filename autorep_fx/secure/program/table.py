"""Which operations a program may have."""

from __future__ import annotations

from . import operations
from .collected import collected
from .operation import Operation

OPERATIONS: dict[str, Operation] = {
    op: operation for family in collected(operations).values() for op, operation in family.OPERATIONS.items()
}
