"""Sums of tensors, constants, and products with a public number."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from .call import Call, Unsupported, lowers
from .hidden import LOWEST, Hidden
from .lowering import Lowering
from .ranged import ranged


@lowers(functions=(operator.add, operator.iadd, torch.add), methods=("add", "add_", "__add__", "__iadd__", "__radd__"))
def add(low: Lowering, call: Call) -> str:
    return _sum(low, call, call.get(0, "input"), call.get(1, "other"), call.kwargs.get("alpha", 1))


@lowers(functions=(operator.sub, operator.isub, torch.sub, torch.subtract),
        methods=("sub", "sub_", "subtract", "__sub__", "__isub__"))  # fmt: skip
def sub(low: Lowering, call: Call) -> str:
    return _sum(low, call, call.get(0, "input"), call.get(1, "other"), -call.kwargs.get("alpha", 1))


@lowers(functions=(torch.rsub,), methods=("__rsub__",))
def rsub(low: Lowering, call: Call) -> str:
    return _sum(low, call, call.get(1, "other"), call.get(0, "input"), -call.kwargs.get("alpha", 1))


def _sum(low: Lowering, call: Call, a: Any, b: Any, alpha: float) -> str:
    """``a + alpha * b``, where at least one of the two is private."""
    if isinstance(a, fx.Node) and isinstance(b, fx.Node):
        x, y = low.value(a), low.value(b)
        if len(low.shape_of(x)) != len(low.shape_of(y)):
            raise Unsupported("adds tensors with a different number of axes; unsqueeze one so that batches line up")
        if alpha not in (1, -1):
            y = low.emit(call, "scale", (y,), shape=low.shape_of(y), suffix=".alpha", factor=float(alpha))
            alpha = 1
        return low.emit(call, "add", (x, y), sign=int(alpha))
    if isinstance(a, fx.Node):
        return _with_mask(low, call, low.value(a), b, alpha)
    x = low.value(b)
    if alpha != 1:
        x = low.emit(call, "scale", (x,), shape=low.shape_of(x), suffix=".alpha", factor=float(alpha))
    return _with_mask(low, call, x, a, 1)


def _with_mask(low: Lowering, call: Call, x: str, constant: Any, factor: float) -> str:
    """A sum with a constant, which may be a mask of -inf or -1e9 for a softmax."""
    if not isinstance(constant, Tensor) or not low.reaches_softmax_alone(call.node):
        return add_constant(low, call, x, constant, factor)
    left_out = constant * factor <= LOWEST
    added = constant.masked_fill(left_out, 0.0)
    if added.any() or low.shape_of(x) != low.sample_shape(call.node):
        y = add_constant(low, call, x, added, factor)
    else:
        y = low.emit(call, "reshape", (x,))
    if left_out.any():
        before = low.hidden.get(y)
        left_out = left_out[0] if left_out.dim() > len(low.shape_of(y)) else left_out
        low.hidden[y] = Hidden(left_out if before is None else left_out | before.where, filled=False)
    return y


def add_constant(low: Lowering, call: Call, x: str, constant: Any, factor: float, suffix: str = "",
                 shape: tuple[int, ...] | None = None) -> str:  # fmt: skip
    if isinstance(constant, (int, float)):
        return low.emit(call, "add_number", (x,), shape=shape, suffix=suffix, number=float(constant) * factor)
    if not isinstance(constant, Tensor):
        raise Unsupported(f"adds {type(constant).__name__}; a tensor or a number is supported")
    # A leading axis of one is the batch's; without it the constant lines up with the sample's last axes.
    if constant.dim() == len(low.shape_of(x)) + 1:
        constant = constant[0]
    if constant.dim() > len(low.shape_of(x)):
        raise Unsupported(f"adds a constant of shape {tuple(constant.shape)} to samples {low.shape_of(x)}")
    secrets = {"constant": constant.double() * factor}
    return low.emit(call, "add_private", (x,), shape=shape, suffix=suffix, secrets=secrets)


@lowers(functions=(operator.mul, operator.imul, torch.mul, torch.multiply),
        methods=("mul", "mul_", "multiply", "__mul__", "__imul__", "__rmul__"))  # fmt: skip
def mul(low: Lowering, call: Call) -> str:
    a, b = call.get(0, "input"), call.get(1, "other")
    if isinstance(a, fx.Node) and isinstance(b, fx.Node):
        return _product(low, call, low.value(a), low.value(b))
    if not isinstance(a, fx.Node):
        a, b = b, a
    if _is_private(b):
        return _scale_by(low, call, low.value(a), b)
    return _scale(low, call, a, _number(b, "multiplies by"))


def _product(low: Lowering, call: Call, x: str, y: str) -> str:
    """Of two private tensors, a gate for example."""
    if len(low.shape_of(x)) != len(low.shape_of(y)):
        raise Unsupported("multiplies tensors with a different number of axes; unsqueeze one so that batches line up")
    return low.emit(call, "mul", (x, y))


@lowers(functions=(torch.addcmul,), methods=("addcmul",))
def addcmul(low: Lowering, call: Call) -> str:
    """``added + value a b``."""
    added, a, b = call.get(0, "input"), call.get(1, "tensor1"), call.get(2, "tensor2")
    value = call.kwargs.get("value", 1)
    if isinstance(a, fx.Node) and isinstance(b, fx.Node):
        x, y = low.value(a), low.value(b)
        shape = torch.broadcast_shapes(low.shape_of(x), low.shape_of(y))
        x = low.emit(call, "mul", (x, y), shape=shape, suffix=".product")
        if value != 1:
            x = low.emit(call, "scale", (x,), shape=shape, suffix=".value", factor=float(value))
    elif isinstance(a, fx.Node) or isinstance(b, fx.Node):
        private, factor = (a, b) if isinstance(a, fx.Node) else (b, a)
        x = _scale_by(low, call, low.value(private), factor.double() * value, ".product")
    else:
        return _sum(low, call, added, a.double() * b.double() * value, 1)
    if not isinstance(added, fx.Node):
        return add_constant(low, call, x, added, 1)
    return low.emit(call, "add", (low.value(added), x), sign=1)


@lowers(functions=(operator.truediv, operator.itruediv, torch.div, torch.divide, torch.true_divide),
        methods=("div", "div_", "divide", "divide_", "true_divide", "__truediv__"))  # fmt: skip
def div(low: Lowering, call: Call) -> str:
    if call.kwargs.get("rounding_mode") is not None:
        raise Unsupported("a rounded division; only an exact one is supported")
    if _is_private(call.get(1, "other")) and isinstance(call.get(0, "input"), fx.Node):
        return _scale_by(low, call, low.value(call.get(0, "input")), 1 / call.get(1, "other").double())
    if isinstance(call.get(1, "other"), fx.Node):
        return _divide(low, call, call.get(0, "input"), low.value(call.get(1, "other")))
    divisor = _number(call.get(1, "other"), "divides by")
    if divisor == 0 or not isinstance(call.get(0, "input"), fx.Node):
        raise Unsupported("only a tensor divided by a number that is not zero is supported")
    return _scale(low, call, call.get(0, "input"), 1 / divisor)


def _divide(low: Lowering, call: Call, x: Any, by: str) -> str:
    """By a private tensor, which is positive on the examples."""
    one_over = ranged(low, call, "reciprocal", by, ".one_over")
    if isinstance(x, fx.Node):
        return _product(low, call, low.value(x), one_over)
    number = _number(x, "divides")
    return low.emit(call, "scale", (one_over,), shape=low.shape_of(by), factor=number)


@lowers(functions=(operator.neg, torch.neg, torch.negative), methods=("neg", "neg_", "negative", "__neg__"))
def neg(low: Lowering, call: Call) -> str:
    return _scale(low, call, call.get(0, "input"), -1.0)


def _scale(low: Lowering, call: Call, x: Any, factor: float) -> str:
    return low.value(x) if factor == 1 else low.emit(call, "scale", (low.value(x),), factor=factor)


def _is_private(value: Any) -> bool:
    """A factor that is the server's: a parameter, or more than one number."""
    return isinstance(value, Tensor) and (isinstance(value, nn.Parameter) or value.numel() > 1)


def _scale_by(low: Lowering, call: Call, x: str, factor: Tensor, suffix: str = "") -> str:
    """A factor for each channel, or for each element of a sample."""
    shape, factor = low.shape_of(x), factor.detach().double()
    if factor.dim() == len(shape) + 1 and len(factor) == 1:
        factor = factor[0]
    if (
        factor.dim() > len(shape)
        or not suffix
        and low.sample_shape(call.node) != shape
        or not torch.isfinite(factor).all()
    ):
        raise Unsupported(
            f"multiplies samples {shape} by {tuple(factor.shape)}; a finite factor that broadcasts to the sample is "
            "supported"
        )
    factor = factor.reshape((*(1,) * (len(shape) - factor.dim()), *factor.shape))
    if shape and all(n == 1 for n in factor.shape[1:]):
        scale = factor.flatten().expand(shape[0]).clone()
        secrets = {"scale": scale, "shift": torch.zeros_like(scale)}
        return low.emit(call, "affine", (x,), shape=shape, suffix=suffix, secrets=secrets)
    scale = factor.expand(shape).flatten().clone()
    x = low.emit(call, "reshape", (x,), shape=(len(scale),), suffix=f"{suffix}.flat")
    secrets = {"scale": scale, "shift": torch.zeros_like(scale)}
    x = low.emit(call, "affine", (x,), shape=(len(scale),), suffix=f"{suffix}.scaled", secrets=secrets)
    return low.emit(call, "reshape", (x,), shape=shape, suffix=suffix)


@lowers(functions=(torch.square, torch.pow, operator.pow), methods=("square", "pow", "__pow__"))
def square(low: Lowering, call: Call) -> str:
    power = 2 if call.node.target in (torch.square, "square") else call.get(1, "exponent")
    x = low.value(call.get(0, "input"))
    if power == 1:
        return x
    if power != 2 or not low.shape_of(x):
        raise Unsupported(f"a power of {power}; only squares of samples with axes are supported, and their products "
                          "(x * x.square() is x**3)")  # fmt: skip
    return squared(low, call, x)


def squared(low: Lowering, call: Call, x: str, suffix: str = "") -> str:
    """A site whose polynomials are all x**2."""
    shape = low.shape_of(x)
    coeffs = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)[:, None].repeat(1, shape[0])
    count = math.prod(shape)
    return low.emit(call, "hybrid", (x,), shape=shape, suffix=suffix, secrets={"coeffs": coeffs}, kind="relu",
                    degree=2, per_channel=count // shape[0], kept=torch.arange(0),
                    replaced=torch.arange(count))  # fmt: skip


@lowers(functions=(torch.abs, torch.absolute, operator.abs), methods=("abs", "absolute", "__abs__"))
def absolute(low: Lowering, call: Call) -> str:
    """A leaky ReLU with a slope of -1 that is kept everywhere; no site, so no budget takes it."""
    x = low.value(call.get(0, "input"))
    shape = low.shape_of(x)
    if not shape:
        raise Unsupported("an absolute value of samples without axes; unsqueeze one")
    count = math.prod(shape)
    return low.emit(call, "hybrid", (x,), kind="leaky_relu", slope=-1.0, degree=1, per_channel=count // shape[0],
                    kept=torch.arange(count), replaced=torch.arange(0))  # fmt: skip


def _number(value: Any, what: str) -> float:
    if isinstance(value, Tensor) and value.numel() == 1 and not isinstance(value, nn.Parameter):
        value = value.item()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    kind = "a private tensor" if isinstance(value, fx.Node) else f"a {type(value).__name__}"
    raise Unsupported(f"{what} {kind}; only a public number is supported (a per-channel factor: use BatchNorm2d)")
