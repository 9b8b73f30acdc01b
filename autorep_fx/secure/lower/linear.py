"""Linear layers and batch normalisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, fx, nn

from .call import Call, Unsupported, lowers
from .lowering import Lowering


@lowers(modules=(nn.Linear,), functions=(F.linear,))
def linear(low: Lowering, call: Call) -> str:
    weight, bias = weights(call)
    return low.emit(call, "linear", (low.value(call.get(0, "input")),), secrets={"weight": weight, "bias": bias})


def weights(call: Call) -> tuple[Tensor, Tensor | None]:
    if call.module is not None:
        return call.module.weight, call.module.bias
    weight, bias = call.get(1, "weight"), call.get(2, "bias")
    if isinstance(weight, fx.Node) or isinstance(bias, fx.Node):
        raise Unsupported("its weights are computed from the input; only constant weights are supported")
    return weight, bias


@lowers(modules=(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), functions=(F.batch_norm,))
def batch_norm(low: Lowering, call: Call) -> str:
    """A per-channel scale and shift: ``weight / sqrt(var + eps)`` and ``bias - mean * scale``."""
    module = call.module
    if module is not None:
        mean, var, weight, bias = module.running_mean, module.running_var, module.weight, module.bias
        by_batch, eps = var is None, module.eps
    else:
        mean, var, weight, bias = (
            call.get(i, n) for i, n in enumerate(("running_mean", "running_var", "weight", "bias"), 1)
        )
        by_batch, eps = call.get(5, "training", False), call.get(7, "eps", 1e-5)
    if by_batch:
        raise Unsupported("it normalises by the statistics of the batch; track running statistics and use eval mode")
    scale = (var.double() + eps).rsqrt() * (1 if weight is None else weight.double())
    shift = (0 if bias is None else bias.double()) - mean.double() * scale
    return low.emit(call, "affine", (low.value(call.get(0, "input")),), secrets={"scale": scale, "shift": shift})
