"""Batch normalisation folded into the linear layer before it."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

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
        for bn in list(gm.graph.nodes):
            layer = self._layer_of(gm, bn, calls)
            if layer is None:
                continue
            linear, norm = module_of(gm, layer), _with_affine(module_of(gm, bn))
            fuse: Any = fuse_linear_bn_eval if isinstance(linear, nn.Linear) else fuse_conv_bn_eval
            gm.set_submodule(path_of(layer), fuse(linear, norm))
            bn.replace_all_uses_with(layer)
            gm.graph.erase_node(bn)
        drop_unused(gm)

    def ensures(self, gm: fx.GraphModule) -> None:
        calls = Counter(node.target for node in gm.graph.nodes if node.op == "call_module")
        left = [node.name for node in gm.graph.nodes if self._layer_of(gm, node, calls) is not None]
        if left:
            raise RuntimeError(f"batch norm '{left[0]}' can be folded and was not; please report the model")

    @staticmethod
    def _layer_of(gm: fx.GraphModule, bn: fx.Node, calls: Counter) -> fx.Node | None:
        """The node of the layer that ``bn`` can be folded into."""
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
        return layer if fits and not linear.training and _owns_parameters(gm, linear) else None


def _with_affine(norm: nn.Module) -> nn.Module:
    """The same normalisation with a weight and a bias, which torch's fusion into a linear layer wants to be there."""
    if norm.weight is not None:
        return norm
    norm = copy.copy(norm)
    norm._parameters = dict(norm._parameters)
    norm.weight = nn.Parameter(torch.ones_like(norm.running_var), requires_grad=False)
    norm.bias = nn.Parameter(torch.zeros_like(norm.running_mean), requires_grad=False)
    return norm


def _owns_parameters(gm: fx.GraphModule, layer: nn.Module) -> bool:
    mine = {id(p) for p in layer.parameters()}
    modules = [m for m in gm.modules() if m is not layer]
    if any(id(p) in mine for m in modules for p in m._parameters.values() if p is not None):
        return False
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            value = gm
            for part in node.target.split("."):
                value = getattr(value, part)
            if id(value) in mine:
                return False
    return True
