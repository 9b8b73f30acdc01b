"""Batch normalisation folded into the linear layer before it."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_eval

from .modes import drop_unused
from .passes import Pass
from .targets import module_of, path_of

_CONVOLUTIONS: dict[type, type] = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}


class FoldBatchNorm(Pass):
    """Fold batch normalisation in eval mode into the convolution or linear layer that feeds it::

        before:  conv1 = call_module[conv1](x)         after:  conv1 = call_module[conv1](x)    weights of conv1 and bn1
                 bn1 = call_module[bn1](conv1)                 relu = call_module[relu](conv1)
                 relu = call_module[relu](bn1)

    A pair is folded only where the batch norm is the only reader of the layer's output, the layer is called once, and
    no other module or node holds its parameters: otherwise folding would rescale what the others compute. A batch norm
    that normalises by the statistics of the batch (train mode, or none tracked) stays. A linear layer is folded where
    the graph knows (``meta["tensor_meta"]``, from shape propagation) that its output is (N, features): behind a longer
    shape a ``BatchNorm1d`` normalises another axis.
    """

    def run(self, gm: fx.GraphModule) -> None:
        calls = Counter(node.target for node in gm.graph.nodes if node.op == "call_module")
        shared = _shared_parameters(gm)
        for bn in list(gm.graph.nodes):
            layer = self._layer_of(gm, bn, calls, shared)
            if layer is None:
                continue
            linear, norm = module_of(gm, layer), _with_affine(module_of(gm, bn))
            fuse: Any = fuse_linear_bn_eval if isinstance(linear, nn.Linear) else _fused
            gm.set_submodule(path_of(layer), fuse(linear, norm))
            bn.replace_all_uses_with(layer)
            gm.graph.erase_node(bn)
        drop_unused(gm)

    def ensures(self, gm: fx.GraphModule) -> None:
        calls = Counter(node.target for node in gm.graph.nodes if node.op == "call_module")
        shared = _shared_parameters(gm)
        left = [node.name for node in gm.graph.nodes if self._layer_of(gm, node, calls, shared) is not None]
        if left:
            raise RuntimeError(f"batch norm '{left[0]}' can be folded and was not; please report the model")

    @staticmethod
    def _layer_of(gm: fx.GraphModule, bn: fx.Node, calls: Counter, shared: set[int]) -> fx.Node | None:
        """The node of the layer that ``bn`` can be folded into. shared: of :func:`_shared_parameters`."""
        if bn.op != "call_module" or len(bn.all_input_nodes) != 1:
            return None
        norm, layer = module_of(gm, bn), bn.all_input_nodes[0]
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.training or norm.running_var is None:
            return None
        if layer.op != "call_module" or len(layer.users) != 1 or calls[layer.target] != 1:
            return None
        linear = module_of(gm, layer)
        if type(linear) is nn.Linear:
            meta = layer.meta.get("tensor_meta")
            fits = type(norm) in (nn.BatchNorm1d, nn.SyncBatchNorm) and meta is not None and len(meta.shape) == 2
        else:
            of_its_axes = _CONVOLUTIONS.get(type(linear))
            fits = of_its_axes is not None and type(norm) in (of_its_axes, nn.SyncBatchNorm)
        return layer if fits and not linear.training and shared.isdisjoint(map(id, linear.parameters())) else None


def _with_affine(norm: nn.Module) -> nn.Module:
    """The same normalisation with a weight and a bias, which torch's fusion into a linear layer wants to be there."""
    if norm.weight is not None:
        return norm
    norm = copy.copy(norm)
    norm._parameters = dict(norm._parameters)
    norm.weight = nn.Parameter(torch.ones_like(norm.running_var), requires_grad=False)
    norm.bias = nn.Parameter(torch.zeros_like(norm.running_mean), requires_grad=False)
    return norm


def _fused(conv: nn.Module, norm: Any) -> nn.Module:
    """As torch's ``fuse_conv_bn_eval``, which copies the weights first."""
    fused: Any = copy.copy(conv)
    fused._parameters = dict(fused._parameters)
    fused.weight, fused.bias = fuse_conv_bn_weights(fused.weight, fused.bias, norm.running_mean, norm.running_var,
                                                    norm.eps, norm.weight, norm.bias)  # fmt: skip
    return fused


def _shared_parameters(gm: fx.GraphModule) -> set[int]:
    """Ids of parameters that several modules hold, or that a node reads."""
    held = Counter(each for module in gm.modules() for each in {*map(id, module._parameters.values())})
    shared = {each for each, count in held.items() if count > 1}
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            value: Any = gm
            for part in node.target.split("."):
                value = getattr(value, part)
            shared.add(id(value))
    return shared
