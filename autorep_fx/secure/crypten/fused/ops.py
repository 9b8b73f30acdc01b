"""The operations that differ from ../ops.py: everything that has a message."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...program import tensor_ops
from ...program.program import Step
from .. import ops
from .party import FusedShares
from .protocols import multiply, product, relu
from .site import hybrid


def _conv2d(s: FusedShares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """One round, one way. The weights were opened under their mask when the parties connected."""
    y = _product(s, step, "weight", x)
    return s.add_known(y, tensor_ops.channels(secrets["bias"], 4)) if "bias" in secrets else y


def _linear(s: FusedShares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """One round, one way."""
    y = _product(s, step, "weight", x)
    return s.add_known(y, secrets["bias"]) if "bias" in secrets else y


def _affine(s: FusedShares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """One round, one way."""
    return s.add_known(_product(s, step, "scale", x), tensor_ops.channels(secrets["shift"], x.dim()))


def _product(s: FusedShares, step: Step, role: str, x: Tensor) -> Tensor:
    (y,) = s.run(product(s, s.take(step)[role], f"{step.name}.{role}", x))
    return s.rescale(y)


def _mul(s: FusedShares, step: Step, secrets: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """One round."""
    x, y = x.expand(len(x), *step.shape), y.expand(len(y), *step.shape)
    (product,) = s.run(multiply(s, s.take(step)["product"], x, y))
    return s.rescale(product)


def _max_pool2d(s: FusedShares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """5 rounds a level."""
    held = iter(s.take(step).values())
    return ops.max_tree(s, step, x, lambda difference: s.run(relu(s, next(held), difference))[0])


OPS: dict[str, Callable[..., Tensor]] = {
    **ops.OPS,
    "conv2d": _conv2d,
    "linear": _linear,
    "affine": _affine,
    "mul": _mul,
    "max_pool2d": _max_pool2d,
    "hybrid": hybrid,
}
