"""Private inference for PyTorch: keep the ReLUs that matter, replace the rest by polynomials, run between two parties.

See the README for the ten-line tour; every name below has a docstring.
"""

from .hybrid.activation import HybridActivation, relu_count, sites
from .hybrid.clips import clip_rates, simplify_clips
from .hybrid.fitting import refit
from .hybrid.serialize import load, save
from .inspect import BudgetPlan, Drift, Report, inspect, monitor, plan_budgets
from .search import finetune, search
from .secure.compile import compile
from .secure.network import Network
from .secure.secure_program import SecureProgram
from .service.asking import connect
from .settings import FinetuneSettings, SearchSettings, TransformSettings
from .transform import transform

__version__ = "0.1.0"

__all__ = [
    "BudgetPlan",
    "Drift",
    "FinetuneSettings",
    "HybridActivation",
    "Network",
    "Report",
    "SearchSettings",
    "SecureProgram",
    "TransformSettings",
    "clip_rates",
    "compile",
    "connect",
    "finetune",
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
