"""What a site's kept positions compute, in the clear."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...graph.activations import Activation
from . import tensor_ops
from .kinds import EXACT
from .program import Step
from .ranged import RANGED


def kept(step: Step, secrets: dict[str, Tensor], x: Tensor, cut: Callable[[Tensor], Tensor] = lambda y: y) -> Tensor:
    """The activation at the kept positions; ``cut`` sees each product with a number that is no integer."""
    kind = step.attrs["kind"]
    if kind in RANGED:
        return RANGED[kind].of(x, **step.attrs["params"])
    if kind not in EXACT:
        return Activation(kind, **step.attrs["params"])(x)
    return EXACT[kind].plain(x, slope_of(step, secrets), cut)


def slope_of(step: Step, secrets: dict[str, Tensor]) -> float | Tensor:
    """Slope below zero of a hybrid step's kept positions: one for all, or one for each."""
    if "slope" in secrets:
        return tensor_ops.by_position(step, secrets["slope"], "kept")
    return step.attrs.get("slope", 0.0)
