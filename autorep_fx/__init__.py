"""Private inference for PyTorch: keep the ReLUs that matter, replace the rest by polynomials, run between two parties.

See the README for the ten-line tour; every name below has a docstring. Each is loaded when it is used, so that what
needs no torch (a party, a service) imports none.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import (
    AutorepError,
    BudgetError,
    CalibrationError,
    CalibrationWarning,
    CheckFailed,
    CompileError,
    CompileWarning,
    FormatError,
    FormatWarning,
    MissingDependency,
    PartyError,
    Refused,
    TraceError,
    TransformWarning,
)

if TYPE_CHECKING:
    from .hybrid.activation import HybridActivation, relu_count, sites
    from .hybrid.clips import clip_rates, simplify_clips
    from .hybrid.fitting import refit
    from .hybrid.serialize import load, save
    from .inspect import BudgetPlan, Drift, Report, inspect, monitor, plan_budgets
    from .onnx.convert import from_onnx
    from .search.search import finetune, search
    from .secure.compile import compile
    from .secure.link.network import Network
    from .secure.secure_program import SecureProgram
    from .service.client import connect
    from .settings import FinetuneSettings, SearchSettings, TransformSettings
    from .transform import transform

__version__ = "0.1.0"  # pyproject.toml reads it here

__all__ = [
    "AutorepError",
    "BudgetError",
    "BudgetPlan",
    "CalibrationError",
    "CalibrationWarning",
    "CheckFailed",
    "CompileError",
    "CompileWarning",
    "Drift",
    "FinetuneSettings",
    "FormatError",
    "FormatWarning",
    "HybridActivation",
    "MissingDependency",
    "Network",
    "PartyError",
    "Refused",
    "Report",
    "SearchSettings",
    "SecureProgram",
    "TraceError",
    "TransformSettings",
    "TransformWarning",
    "clip_rates",
    "compile",
    "connect",
    "finetune",
    "from_onnx",
    "inspect",
    "load",
    "monitor",
    "plan_budgets",
    "refit",
    "relu_count",
    "save",
    "search",
    "simplify_clips",
    "sites",
    "transform",
]

#: Where each name is that is loaded when it is used.
_HOMES = {
    "BudgetPlan": "inspect",
    "Drift": "inspect",
    "FinetuneSettings": "settings",
    "HybridActivation": "hybrid.activation",
    "Network": "secure.link.network",
    "Report": "inspect",
    "SearchSettings": "settings",
    "SecureProgram": "secure.secure_program",
    "TransformSettings": "settings",
    "clip_rates": "hybrid.clips",
    "compile": "secure.compile",
    "connect": "service.client",
    "finetune": "search.search",
    "from_onnx": "onnx.convert",
    "inspect": "inspect",
    "load": "hybrid.serialize",
    "monitor": "inspect",
    "plan_budgets": "inspect",
    "refit": "hybrid.fitting",
    "relu_count": "hybrid.activation",
    "save": "hybrid.serialize",
    "search": "search.search",
    "simplify_clips": "hybrid.clips",
    "sites": "hybrid.activation",
    "transform": "transform",
}

#: Folders that `autorep_fx.NAME` gives without an import of their own.
_FOLDERS = ("graph", "hybrid", "kernels", "models", "secure", "service")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        found = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        return found
    if name in _FOLDERS:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_FOLDERS})


class _Package(ModuleType):
    """`inspect`, `search` and `transform` are functions here, and the modules that hold them have the same names: an
    import of such a module, which sets its name in its package, must not hide the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
