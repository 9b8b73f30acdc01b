"""What a model does last: all that depends on outputs alone, has no weights and is no layer. Whoever learns the outputs
does it, at no cost.

It begins at the first node that is not linear (softmax, argmax, a division by what is private) and holds what follows:
moves, arithmetic, choices. A node of it is no site, and no step of two parties. What is linear before it is theirs, so
that of ``z[:, 1:].softmax(1)`` nobody learns ``z[:, 0]``.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from .attached import attached
from .finish import MODULES
from .gradients import detached
from .targets import module_of, path_of

_HOMES = (torch, F, torch.special, torch.linalg, operator)


def spelled(names: str) -> set[Any]:
    """Names as methods, and as whatever functions of torch have them."""
    functions = (getattr(home, name, None) for home in _HOMES for name in names.split())
    return {*names.split(), *(each for each in functions if each is not None)}


#: What moves, and what computes: part of the tail behind what begins one.
MOVES = spelled(
    "reshape view flatten unflatten squeeze unsqueeze permute transpose swapaxes movedim expand broadcast_to expand_as "
    "view_as reshape_as cat concat concatenate stack chunk split unbind getitem narrow select index_select flip roll "
    "repeat tile repeat_interleave pad contiguous clone detach to float double type_as"
) | {detached}
_COMPUTES = spelled(
    "add sub subtract mul multiply div divide true_divide truediv rsub neg negative pow square abs absolute clamp "
    "clamp_min clamp_max clip maximum minimum relu sum mean amax amin cumsum max min iadd isub imul itruediv"
)

#: What begins it: two parties cannot do it. A sigmoid or a tanh they can, at the price of an activation, so it begins
#: the tail where it gates nothing that is private.
_BEGINS = spelled(
    "softmax log_softmax softmin logsigmoid normalize argmax argmin topk sort argsort logsumexp exp log log1p expm1 "
    "sqrt rsqrt reciprocal norm vector_norm cosine_similarity pairwise_distance round floor ceil gt ge lt le eq ne "
    "where logical_not logical_and logical_or and_ or_ invert long int bool gather masked_fill"
)
_SITES = spelled("sigmoid tanh expit")
_DIVIDES = spelled("div divide true_divide truediv itruediv")
_LARGEST = spelled("max min")

_BEGIN_MODULES = {kind for kind, name in MODULES.items() if name not in ("sigmoid", "tanh")}
_BEGIN_MODULES |= {nn.CosineSimilarity, nn.PairwiseDistance}
_MOVE_MODULES = {nn.Flatten, nn.Unflatten, nn.Identity}

#: Names of the tensors that some functions give together.
PARTS = {"values": 0, "indices": 1}

#: What takes of a tensor its shape, or its type, and nothing else.
_SHAPES = {"size", "dim", "numel", "__len__", "new_zeros", "new_ones", "new_full", getattr, torch.zeros_like,
           torch.ones_like, torch.full_like, torch.numel}  # fmt: skip


def tail(gm: fx.GraphModule, sites: Collection[fx.Node] = ()) -> set[fx.Node]:
    """The nodes of it. ``sites``: what becomes a site whatever comes behind it."""
    private = _private(gm)
    weights = _weights(gm, private)
    last: set[fx.Node] = set()
    for node in reversed(gm.graph.nodes):
        users = [user for user in node.users if user in private or user.op == "output"]
        ends = users and all(user.op == "output" or user in last for user in users)
        if ends and node in private and node not in sites and weights.isdisjoint(node.all_input_nodes):
            if _kind(gm, node) is not None:
                last.add(node)
    order = [node for node in gm.graph.nodes if node in last]
    begins = {node for node in order if _begins(gm, node, private)}
    gates = {node for node in order if _kind(gm, node) in _GATES}
    while True:
        found = _behind(order, begins | gates)
        certain = _behind(order, begins)
        gated = [node for node in order if node in found - certain and _kind(gm, node) == "computes"
                 and any(other in private and other not in found for other in node.all_input_nodes)]  # fmt: skip
        if not gated:
            return found
        gates -= _before(gated, last)


#: Kinds of nodes that begin a tail unless they gate something.
_GATES = ("site",)


def _kind(gm: fx.GraphModule, node: fx.Node) -> str | None:
    """Whether it "moves", "computes", "begins" one or is a "site"; None: it is no part of any tail."""
    if node.op == "call_module":
        module = module_of(gm, node)
        if attached(module):
            return None
        kind: Any = type(module)
        names: Any = ((_MOVE_MODULES, "moves"), (_BEGIN_MODULES, "begins"), ({nn.Sigmoid, nn.Tanh}, "site"),
                 ({nn.ReLU}, "computes"))  # fmt: skip
    elif _is_part(node):
        return "moves"
    elif node.op in ("call_function", "call_method"):
        kind = node.target
        names = ((MOVES, "moves"), (_COMPUTES, "computes"), (_BEGINS, "begins"), (_SITES, "site"))
    else:
        return None
    return next((name for among, name in names if kind in among), None)


def _is_part(node: fx.Node) -> bool:
    return node.target is getattr and node.args[1] in PARTS


def _begins(gm: fx.GraphModule, node: fx.Node, private: set[fx.Node]) -> bool:
    if node.target in _DIVIDES:
        by = node.args[1] if len(node.args) > 1 else node.kwargs.get("other")
        return by in private
    if node.target in _LARGEST:  # with the places; values alone are a maximum, which two parties compute
        takes = [user.args[1] if user.target in (operator.getitem, getattr) else None for user in node.users]
        along = len(node.args) > 1 and isinstance(node.args[1], int) or "dim" in node.kwargs
        return bool(along and any(part in (1, -1, "indices", None) for part in takes))
    return _kind(gm, node) == "begins"


def _behind(order: list[fx.Node], begins: set[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for node in order:
        if node in begins or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _before(nodes: list[fx.Node], among: set[fx.Node]) -> set[fx.Node]:
    found, waiting = set(nodes), [*nodes]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source in among and source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _private(gm: fx.GraphModule) -> set[fx.Node]:
    """What holds numbers that depend on the input."""
    found: set[fx.Node] = set()
    for node in gm.graph.nodes:
        shape = node.target in _SHAPES and not _is_part(node)
        if node.op == "placeholder" or not shape and not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _weights(gm: fx.GraphModule, private: set[fx.Node]) -> set[fx.Node]:
    """Parameters, and what is made of them alone: the server's, and no constants that everybody may know."""
    found: set[fx.Node] = set()
    for node in gm.graph.nodes:
        parameter = node.op == "get_attr" and isinstance(_attribute(gm, path_of(node)), nn.Parameter)
        if parameter or node not in private and not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _attribute(gm: fx.GraphModule, target: str) -> Any:
    value: Any = gm
    for part in target.split("."):
        value = getattr(value, part)
    return value
