"""Activations of a model that are no sites: what a budget cannot touch, and two parties cannot compute."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import fx, nn

from .canonicalize import is_activation
from .functions import KeptFunction
from .modes import ModePart
from .tail import tail
from .targets import module_of
from .unread import read

_FUNCTIONS = {
    F.hardshrink, F.softshrink, F.tanhshrink, F.softsign, F.logsigmoid, F.rrelu, F.rrelu_, F.glu, torch.exp, torch.erf,
    torch.sin, torch.cos, torch.log, torch.sqrt, torch.rrelu, torch.atan,
}  # fmt: skip
_METHODS = {"exp", "erf", "sin", "cos", "log", "sqrt", "hardshrink"}
_MODULES = (nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Softsign, nn.LogSigmoid, nn.RReLU, nn.GLU, nn.Threshold)


def leftover(gm: fx.GraphModule) -> list[str]:
    """The element-wise functions of the input that stay in a canonical graph and are returned, as an error names
    them."""
    depends: set[fx.Node] = set()
    found, last, returned = [], tail(gm), read(gm)
    for node in gm.graph.nodes:
        if node.op == "placeholder" or not depends.isdisjoint(node.all_input_nodes):
            depends.add(node)
            if node in returned and node not in last and (name := _name(gm, node)):
                found.append(f"node '{node.name}' ({name})")
            module = module_of(gm, node) if node.op == "call_module" else None
            if isinstance(module, ModePart):
                found += [f"node '{name}' (on the path of eval mode alone)" for name in _inside(module.parts[1])]
    return found


def _inside(gm: fx.GraphModule) -> list[str]:
    return [node.name for node in gm.graph.nodes if is_activation(gm, node) or _name(gm, node)]


def _name(gm: fx.GraphModule, node: fx.Node) -> str | None:
    if node.op == "call_module":
        module = module_of(gm, node)
        if isinstance(module, KeptFunction):
            return module.function.__name__
        return type(module).__name__ if isinstance(module, _MODULES) else None
    if node.op == "call_function" and node.target in _FUNCTIONS:
        return node.target.__name__
    return f".{node.target}()" if node.op == "call_method" and node.target in _METHODS else None
