"""Importing CrypTen 0.4.1 beside a current torch."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from ...errors import MissingDependency

_GONE = "torch.onnx.symbolic_registry"
_INSTALL = "pip install omegaconf onnx pyyaml && pip install --no-deps crypten==0.4.1"


def load_crypten() -> ModuleType:
    """Import and return ``crypten``.

    It imports ``torch.onnx.symbolic_registry``, which torch dropped in 1.13 and which only its ONNX converter used; an
    empty module of that name is enough, since nothing here converts.

    Raises:
        MissingDependency: not installed; says how (a plain ``pip install crypten`` fails on the retired ``sklearn``).
    """
    try:
        importlib.import_module(_GONE)
    except ImportError:
        sys.modules[_GONE] = ModuleType(_GONE)
    try:
        return importlib.import_module("crypten")
    except ImportError as error:
        raise MissingDependency(
            f"backend 'crypten' needs CrypTen ({error}); install it with\n    {_INSTALL}"
        ) from error
