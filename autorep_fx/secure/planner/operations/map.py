"""Layers of weights that only the server knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

from ...plan.ring import encode
from ...plan.server_numbers import Numbers
from ...program import tensor_ops
from ...program.program import Step
from .. import polynomials
from ..node import Margins, Node, Nodes
from ..planned import Bounded, Chosen, Planned
from ..source import Source


def _exponent(nodes: Nodes, node: Node, given: list[int], margins: Margins) -> int:
    return given[0] + node.frac_bits


def _bound(chosen: Chosen, node: Node, given: list[np.ndarray]) -> Bounded:
    of_weights = _weighted if node.site is None else polynomials.bound
    return Bounded(of_weights(chosen, node, given[0]) + chosen.unit(node))


def _weighted(chosen: Chosen, node: Node, given: np.ndarray) -> np.ndarray:
    a = node.attrs
    weight = np.ldexp(np.abs(np.rint(np.ldexp(node.weight, node.frac_bits))), -node.frac_bits)
    if a["kind"] == "conv2d":
        x, w = torch.from_numpy(np.ascontiguousarray(given)), torch.from_numpy(weight)
        bound = F.conv2d(x, w, None, a["stride"], a["padding"], a["dilation"], a["groups"]).numpy()
    elif a["kind"] == "linear":
        bound = given @ weight.T
    else:
        bound = given * weight.reshape(-1, *(1,) * (len(node.shape) - 1))
    return bound if node.constant is None else bound + np.abs(node.constant)


def _emit(chosen: Chosen, node: Node) -> tuple[dict[str, Any], Numbers]:
    out = chosen.e[node.name]
    if node.site is None:
        # In memory of torch's: what NumPy takes for millions of numbers comes in pages of 2 MB, which are slow to get.
        weight = encode(node.weight, node.frac_bits, torch.empty(node.weight.shape, dtype=torch.float64).numpy())
        constant = None if node.constant is None else encode(node.constant, out)
    else:
        weight = encode(polynomials.rounded(chosen, node).factor, node.frac_bits)
        constant = encode(polynomials.constants(chosen, node), out)
    whole = weight.view(np.int64)
    largest = int(max(whole.max(initial=0), -whole.min(initial=0)))
    bits = 16 if largest < 2**15 else 32 if largest < 2**31 else 64
    return {"weight_bits": node.frac_bits}, Numbers(weight, constant, bits)


def _conv2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a = step.attrs
    y = F.conv2d(x, secrets["weight"].abs(), None, a["stride"], a["padding"], a["dilation"], a["groups"])
    return y + tensor_ops.channels(secrets["bias"].abs(), 4) if "bias" in secrets else y


def _linear(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    y = F.linear(x, secrets["weight"].abs())
    return y + secrets["bias"].abs() if "bias" in secrets else y


def _affine(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    y = x * tensor_ops.channels(secrets["scale"].abs(), x.dim())
    return y + tensor_ops.channels(secrets["shift"].abs(), x.dim()) if "shift" in secrets else y


def _conv2d_slopes(step: Step, weight: Tensor, x: Tensor, of_result: Tensor) -> Tensor:
    a = step.attrs
    if a["groups"] == 1 and _few(weight, len(x) * of_result[0, 0].numel()):
        windows = F.unfold(x, weight.shape[2:], a["dilation"], a["padding"], a["stride"]).transpose(1, 2)
        return _of_few(windows.flatten(0, 1), of_result.movedim(1, -1).reshape(-1, len(weight)))
    found = conv2d_weight(x, weight.shape, of_result, a["stride"], a["padding"], a["dilation"], a["groups"])
    return _squares(found.flatten(1))


def _linear_slopes(step: Step, weight: Tensor, x: Tensor, of_result: Tensor) -> Tensor:
    x, of_result = x.reshape(-1, x.shape[-1]), of_result.reshape(-1, len(weight))
    return _of_few(x, of_result) if _few(weight, len(x)) else _squares(of_result.T @ x)


def _few(weight: Tensor, rows: int) -> bool:
    """Whether products of all pairs of rows are less work than the derivative by every weight."""
    return rows * (len(weight) + weight[0].numel()) < weight.numel()


def _of_few(x: Tensor, of_result: Tensor) -> Tensor:
    """Of (M, K) and (M, C), without the derivatives ``of_result.T @ x`` themselves, which may be millions: with the
    products of all pairs of rows. In float64, for these cancel."""
    x, of_result = x.double(), of_result.double()
    return (of_result * (x @ x.T @ of_result)).sum(0).clamp_min(0)


def _squares(found: Tensor) -> Tensor:
    return torch.linalg.vector_norm(found, dim=1).double().square()


PLANNED = Planned(_bound, _exponent, _emit, order=0, multiplies=True)

SOURCES = {
    "conv2d": Source(
        lambda b, s: b.map("conv2d", s, "weight", "bias", **s.attrs), _conv2d, slopes=_conv2d_slopes, affine=True
    ),
    "linear": Source(lambda b, s: b.map("linear", s, "weight", "bias"), _linear, slopes=_linear_slopes, affine=True),
    "affine": Source(lambda b, s: b.map("channel", s, "scale", "shift"), _affine, affine=True),
}
