"""The activations that can become sites, and the one module that stands for each of them in a canonical graph."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .names import KINDS

#: (kind, spelling) -> function of the input and the parameters. A spelling keeps the operation that the model's author
#: chose, because two spellings of one function may differ in the gradient at a kink (``clamp`` passes 1 where
#: ``relu`` passes 0); what it computes is its kind.
_FUNCTIONS: dict[tuple[str, str], Callable[..., Tensor]] = {
    ("relu", "relu"): F.relu,
    ("relu", "clamp"): lambda x: torch.clamp(x, min=0),
    ("relu", "maximum"): lambda x: torch.maximum(x, x.new_zeros(())),
    ("relu", "hardtanh"): lambda x: F.hardtanh(x, 0.0, math.inf),
    ("relu", "threshold"): lambda x: F.threshold(x, 0.0, 0.0),
    ("relu6", "relu6"): F.relu6,
    ("relu6", "clamp"): lambda x: torch.clamp(x, 0, 6),
    ("relu6", "hardtanh"): lambda x: F.hardtanh(x, 0.0, 6.0),
    ("leaky_relu", "leaky_relu"): lambda x, negative_slope: F.leaky_relu(x, negative_slope),
    ("prelu", "prelu"): F.prelu,
    ("silu", "silu"): F.silu,
    ("gelu", "gelu"): lambda x, approximate: F.gelu(x, approximate=approximate),
    ("hardswish", "hardswish"): F.hardswish,
    ("sigmoid", "sigmoid"): torch.sigmoid,
    ("hardsigmoid", "hardsigmoid"): F.hardsigmoid,
    ("tanh", "tanh"): torch.tanh,
    ("hardtanh", "hardtanh"): lambda x, low, high: F.hardtanh(x, low, high),
    ("hardtanh", "clamp"): lambda x, low, high: torch.clamp(x, low, high),
    ("elu", "elu"): lambda x, alpha: F.elu(x, alpha),
    ("celu", "celu"): lambda x, alpha: F.celu(x, alpha),
    ("selu", "selu"): F.selu,
    ("mish", "mish"): F.mish,
    ("softplus", "softplus"): lambda x, beta, threshold: F.softplus(x, beta, threshold),
}


class Leaf(nn.Module):
    """A module that tracing keeps whole."""


class Activation(Leaf):
    """One activation site of a canonical graph: an element-wise function, out of place.

    Args:
        kind: what is computed, one of ``KINDS``.
        spelling: which torch operation computes it; ``kind`` itself by default.
        params: keyword parameters of the operation (``negative_slope``, ``approximate``, ``alpha``, ``low``, ...).
        weight: PReLU's slope; the Parameter itself is kept, so sites of one shared PReLU stay tied.
    """

    def __init__(self, kind: str, spelling: str | None = None, *, weight: Tensor | None = None, **params):
        super().__init__()
        spelling = spelling or kind
        if (kind, spelling) not in _FUNCTIONS:
            raise ValueError(f"unknown activation kind {kind!r} spelled {spelling!r}; kinds: {', '.join(KINDS)}")
        self.kind, self.spelling, self.params = kind, spelling, params
        if weight is not None:
            self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        function = _FUNCTIONS[self.kind, self.spelling]
        return function(x, self.weight) if self.kind == "prelu" else function(x, **self.params)

    def in_float64(self, x: Tensor) -> Tensor:
        """The activation of a float64 tensor, whatever the dtype and device of the weights."""
        x = x.double()
        if self.kind == "prelu":
            return F.prelu(x, self.weight.detach().to(x.device, torch.float64))
        return self(x)

    def extra_repr(self) -> str:
        spelled = "" if self.spelling == self.kind else f", spelled {self.spelling}"
        return self.kind + spelled + "".join(f", {k}={v}" for k, v in self.params.items())


class Expression(Activation):
    """An activation that the model's author spelled by arithmetic; ``body`` is that spelling.

    Args:
        kind, params: what it computes, as of :class:`Activation`.
        body: a module of one input.
    """

    def __init__(self, kind: str, body: nn.Module, **params):
        super().__init__(kind, **params)
        self.body, self.spelling = body, "expression"

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    def in_float64(self, x: Tensor) -> Tensor:
        return Activation(self.kind, **self.params)(x.double())
