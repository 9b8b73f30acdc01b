"""Private inference for PyTorch: keep the ReLUs that matter, replace the others by polynomials, run between two parties.

See the README for the ten-line tour; every name below has a docstring.
"""

from .hybrid.activation import HybridActivation, relu_count, sites
from .hybrid.serialize import load, save
from .search import finetune, search
from .transform import transform

__version__ = "0.1.0"

__all__ = ["HybridActivation", "finetune", "load", "relu_count", "save", "search", "sites", "transform"]
