"""Operations that write into memory that others read."""

from __future__ import annotations

import operator
from typing import Any

import torch.nn.functional as F
from torch import fx, nn

from ..errors import TraceError
from .concrete import HoldsFor
from .functions import KeptFunction
from .targets import module_of

#: ``x += y`` and the like, and the same out of place.
AUGMENTED: dict[Any, Any] = {
    operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
    operator.itruediv: operator.truediv, operator.ifloordiv: operator.floordiv, operator.imod: operator.mod,
    operator.ipow: operator.pow, operator.iand: operator.and_, operator.ior: operator.or_,
    operator.ixor: operator.xor, operator.ilshift: operator.lshift, operator.irshift: operator.rshift,
}  # fmt: skip
_VIEWS = {"view", "reshape", "flatten", "transpose", "permute", "squeeze", "unsqueeze", "expand", "narrow", "chunk",
          "split", "unbind", "t", "contiguous", "view_as", "reshape_as", "unflatten", "swapaxes", "movedim", "select",
          "detach", "detached", "to", "expand_as", "diagonal", "unfold", "type", "float", "getitem",
          "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "ravel", "double",
          "half", "bfloat16", "type_as", "positive", "pos", "moveaxis", "swapdims", "adjoint", "tensor_split", "hsplit",
          "vsplit", "dsplit", "split_with_sizes", "broadcast_to", "as_strided", "atleast_1d", "atleast_2d",
          "atleast_3d", "view_as_real", "view_as_complex", "cpu", "cuda"}  # fmt: skip
#: Attributes of a tensor that are views of it.
_VIEW_ATTRIBUTES = {"T", "mT", "H", "mH", "data", "real", "imag"}
_VIEW_MODULES = (HoldsFor, nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
#: Functions of torch.nn.functional whose last argument is ``inplace``.
_LAST_IS_INPLACE = {"relu", "relu6", "leaky_relu", "elu", "selu", "celu", "hardtanh", "hardswish", "hardsigmoid",
                    "silu", "mish", "threshold", "rrelu"}  # fmt: skip


def _shares_memory(gm: nn.Module, node: fx.Node, functions: bool) -> bool:
    """Whether the result may live in the memory of the first operand: a view, or an in-place operation."""
    if node.op == "call_module":
        module = module_of(gm, node)
        may = isinstance(module, _VIEW_MODULES) or functions and isinstance(module, KeptFunction)
        return may or bool(getattr(module, "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    if node.target is getattr:
        return node.args[1] in _VIEW_ATTRIBUTES
    return _name(node) in _VIEWS or writes_in_place(gm, node)


def writes_in_place(gm: nn.Module, node: fx.Node) -> bool:
    """Whether a node overwrites its first operand."""
    if node.op == "call_module":
        return bool(getattr(module_of(gm, node), "inplace", False))
    name = _name(node)
    writes = (name.endswith("_") and not name.endswith("__")) or bool(node.kwargs.get("inplace"))
    return writes or node.target in AUGMENTED or node.target is operator.setitem or says_inplace_by_position(node)


def says_inplace_by_position(node: fx.Node) -> bool:
    """``F.relu(x, True)``."""
    if node.op != "call_function" or len(node.args) < 2 or node.args[-1] is not True:
        return False
    return _name(node) in _LAST_IS_INPLACE and node.target.__module__ == F.__name__


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def memory_owners(gm: nn.Module, graph: fx.Graph | None = None, functions: bool = False) -> dict[fx.Node, fx.Node]:
    """For every node the node whose memory it may live in (itself, if it makes new memory).

    Args:
        graph: over the modules of ``gm``, where it is not that of ``gm`` itself.
        functions: whether functions of the model's own (:class:`KeptFunction`) may return what they are given.
    """
    owner: dict[fx.Node, fx.Node] = {}
    found: Any = gm.graph if graph is None else graph
    for node in found.nodes:
        sources = node.all_input_nodes
        owner[node] = owner[sources[0]] if sources and _shares_memory(gm, node, functions) else node
    return owner


def refuse_live_views(node: fx.Node, source: fx.Node, owner: dict[fx.Node, fx.Node], order: dict[fx.Node, int]) -> None:
    for other, shared in owner.items():
        if other in (source, node) or shared is not owner[source] or not other.users:
            continue
        late = [u for u in other.users if order.get(u, -1) > order[node]]
        if late and order[other] < order[node]:
            raise TraceError(
                f"the in-place activation '{node.name}' writes into memory that '{other.name}' shares and "
                f"'{late[0].name}' reads later; use the out-of-place form there (inplace=False)"
            )
