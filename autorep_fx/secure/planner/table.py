"""How operations are planned: those of a plan, and what becomes of those of a program."""

from __future__ import annotations

from ..program.collected import collected
from . import operations
from .planned import Planned
from .source import Source

_FILES = collected(operations)

PLANNED: dict[str, Planned] = {name: found.PLANNED for name, found in _FILES.items()}

SOURCES: dict[str, Source] = {op: source for found in _FILES.values() for op, source in found.SOURCES.items()}
