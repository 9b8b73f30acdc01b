"""Folders in which each file is one entry of a table: to add an operation is to add a file, and no list names it."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType


def collected(folder: ModuleType) -> dict[str, ModuleType]:
    """The modules of a folder by their names."""
    names = [found.name for found in pkgutil.iter_modules(folder.__path__)]
    return {name: import_module(f"{folder.__name__}.{name}") for name in sorted(names)}
