"""Layers of the server's weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .. import checks, shapes, tensor_ops
from ..checks import pair
from ..operation import Operation, Private
from ..program import Step
from ..shapes import Shape, need


def _conv2d_shape(step: Step, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
    need(bias in (None, weight[:1]), f"a bias of shape {bias}")
    return shapes.conv2d(step.attrs, weight, x)


def _conv2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a = step.attrs
    options = (a["stride"], a["padding"], a["dilation"], a["groups"])
    return F.conv2d(x, secrets["weight"], secrets.get("bias"), *options)


def _linear_shape(step: Step, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
    need(bias in (None, weight[:1]), f"a bias of shape {bias}")
    return shapes.linear(weight, x)


def _affine_shape(step: Step, x: Shape, scale: Shape, shift: Shape | None = None) -> Shape:
    need(shift in (None, scale), f"a shift of shape {shift}")
    return shapes.by_channel(scale, x)


def _affine(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    y = x * tensor_ops.channels(secrets["scale"], x.dim())
    return y + tensor_ops.channels(secrets["shift"], x.dim()) if "shift" in secrets else y


_CONV2D = {"stride": pair(1), "padding": pair(0), "dilation": pair(1), "groups": checks.WHOLE}

OPERATIONS = {
    "conv2d": Operation(Private(_conv2d_shape, _CONV2D, secrets={"weight": True, "bias": False}), _conv2d),
    "linear": Operation(
        Private(_linear_shape, secrets={"weight": True, "bias": False}),
        lambda step, secrets, x: F.linear(x, secrets["weight"], secrets.get("bias")),
    ),
    "affine": Operation(Private(_affine_shape, secrets={"scale": True, "shift": False}), _affine),
}
