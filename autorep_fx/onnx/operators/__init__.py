"""What each operator of ONNX is in torch; a file for each kind. To be imported is to be in the table."""

from . import activations, arithmetic, axes, layers, normalisation, pooling, reductions, resize, windows

__all__ = [
    "activations", "arithmetic", "axes", "layers", "normalisation", "pooling", "reductions", "resize", "windows",
]  # fmt: skip
