"""What a model does to its output last: softmax, sigmoid. Whoever learns what goes in can do it, at no cost.

Such a node is no site, and no step of two parties.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import fx, nn

from .attached import attached
from .gradients import detached
from .names import FINISHES
from .targets import module_of

#: What computes which of them.
FUNCTIONS = {
    F.softmax: "softmax", torch.softmax: "softmax", torch.special.softmax: "softmax", F.log_softmax: "log_softmax",
    torch.log_softmax: "log_softmax", torch.special.log_softmax: "log_softmax", F.sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid", torch.special.expit: "sigmoid", F.logsigmoid: "logsigmoid", F.tanh: "tanh",
    torch.tanh: "tanh",
}  # fmt: skip
MODULES = {
    nn.Softmax: "softmax", nn.Softmax2d: "softmax", nn.LogSoftmax: "log_softmax", nn.Sigmoid: "sigmoid",
    nn.LogSigmoid: "logsigmoid", nn.Tanh: "tanh",
}  # fmt: skip


class Finish(NamedTuple):
    """One such node.

    Attributes:
        name: a key of ``FINISHES``; None for what only stops a gradient.
        dim: as the model gives it, if it does.
        source: the node that it reads.
    """

    name: str | None
    dim: int | None
    source: fx.Node


def finishes(gm: fx.GraphModule) -> dict[fx.Node, Finish]:
    """The nodes of a graph that nothing reads but its output, or another of them."""
    found: dict[fx.Node, Finish] = {}
    for node in reversed(gm.graph.nodes):
        if node.users and all(user.op == "output" or user in found for user in node.users):
            if finish := _finish(gm, node):
                found[node] = finish
    return found


def _finish(gm: fx.GraphModule, node: fx.Node) -> Finish | None:
    args, options = node.args, dict(node.kwargs)
    if node.target is detached and isinstance(args[0], fx.Node):
        return Finish(None, None, args[0])
    source = options.pop("input", None) or options.pop("self", None) or (args[0] if args else None)
    dim: Any = options.pop("dim", None)
    options.pop("_stacklevel", None)
    if node.op == "call_module":
        module = module_of(gm, node)
        name = None if attached(module) else MODULES.get(type(module))
        dim = -3 if isinstance(module, nn.Softmax2d) else getattr(module, "dim", None)
    else:
        name = node.target if node.op == "call_method" and node.target in FINISHES else FUNCTIONS.get(node.target)
        dim = args[1] if len(args) > 1 else dim
    if name is None or not isinstance(source, fx.Node) or len(args) > 2 or any(v is not None for v in options.values()):
        return None
    return Finish(name, dim, source) if dim is None or type(dim) is int else None
