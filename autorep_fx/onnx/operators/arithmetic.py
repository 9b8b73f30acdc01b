"""Arithmetic, element by element, and comparisons."""

from __future__ import annotations

import operator as python
from functools import reduce
from typing import Any

import torch
from torch import fx

from ..call import Call, Unsupported, Value, operator
from .layers import with_bias

_BINARY: dict[str, Any] = {
    "Sub": python.sub, "Mul": python.mul, "Equal": torch.eq, "Greater": torch.gt, "GreaterOrEqual": torch.ge,
    "Less": torch.lt, "LessOrEqual": torch.le, "And": torch.logical_and, "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}  # fmt: skip

_UNARY: dict[str, Any] = {
    "Neg": torch.neg, "Abs": torch.abs, "Sqrt": torch.sqrt, "Exp": torch.exp, "Log": torch.log,
    "Reciprocal": torch.reciprocal, "Erf": torch.erf, "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round,
    "Sign": torch.sign, "Not": torch.logical_not, "Sin": torch.sin, "Cos": torch.cos, "Tan": torch.tan,
    "Asin": torch.asin, "Acos": torch.acos, "Atan": torch.atan, "Sinh": torch.sinh, "Cosh": torch.cosh,
    "IsNaN": torch.isnan, "IsInf": torch.isinf,
}  # fmt: skip


@operator("Add")
def add(c: Call) -> Value:
    found = with_bias(c)
    return c.operand(0) + c.operand(1) if found is None else found


@operator(*_BINARY)
def binary(c: Call) -> Value:
    a, b = c.operands()
    if not isinstance(a, fx.Proxy) and _BINARY[c.name] not in (python.sub, python.mul):
        a = c.proxy(0)  # these functions take a tensor first
    return _BINARY[c.name](a, b)


@operator("Div")
def div(c: Call) -> Value:
    a, b = c.operands()
    whole = not c.recorder.value(c.proxy(0)).is_floating_point()
    return torch.div(c.proxy(0), b, rounding_mode="trunc") if whole else a / b


@operator("Mod")
def mod(c: Call) -> Value:
    return (torch.fmod if c.attribute("fmod", 0) else torch.remainder)(c.proxy(0), c.operand(1))


@operator("Pow")
def power(c: Call) -> Value:
    return torch.pow(c.operand(0), c.operand(1))


@operator(*_UNARY)
def unary(c: Call) -> Value:
    return _UNARY[c.name](c.proxy(0))


@operator("Sum")
def total(c: Call) -> Value:
    return reduce(python.add, c.operands())


@operator("Mean")
def mean(c: Call) -> Value:
    return reduce(python.add, c.operands()) / len(c.inputs)


@operator("Max", "Min")
def extreme(c: Call) -> Value:
    function: Any = torch.maximum if c.name == "Max" else torch.minimum
    return reduce(function, (c.proxy(i) for i in range(len(c.inputs))))


@operator("Where")
def where(c: Call) -> Value:
    return torch.where(*(c.proxy(i) if i == 0 else c.operand(i) for i in range(3)))


@operator("Cast", "CastLike")
def cast(c: Call) -> Value:
    if c.name == "CastLike":
        other = c.buffer(1) if c.is_known(1) else c.recorder.value(c.proxy(1))
        return _to(c, other.dtype)
    from onnx import TensorProto

    kind = c.attribute("to")
    integers = {
        TensorProto.BOOL: torch.bool, TensorProto.UINT8: torch.uint8, TensorProto.INT8: torch.int8,
        TensorProto.INT16: torch.int16, TensorProto.INT32: torch.int32, TensorProto.INT64: torch.int64,
    }  # fmt: skip
    floating = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    if kind not in integers and kind not in floating:
        raise Unsupported(f"to {TensorProto.DataType.Name(kind)}; integers, bool and floating types are supported")
    return _to(c, integers.get(kind, torch.float32))


def _to(c: Call, kind: torch.dtype) -> Value:
    x = c.proxy(0)
    return x if c.recorder.value(x).dtype == kind else x.to(kind)
