"""``x += y`` and ``x[i] = y`` in forward(): they change what shares memory with ``x``.

Symbolic tracing records a plain sum, and refuses the other. Here both are recorded in place (recorded.py), and made a
plain sum, and a value of its own, where nobody can tell the difference.
"""

from __future__ import annotations

import operator
from typing import Any

from torch import fx, nn

from .assigned import assigned
from .inplace import AUGMENTED, memory_owners

#: What gives numbers and no tensors: of these ``+=`` makes new ones.
_NUMBERS = ("size", "dim", "numel", "stride", "__len__")
_NUMBER_ATTRIBUTES = ("shape", "ndim")


def settle_augmented(model: nn.Module, graph: fx.Graph) -> None:
    """Make ``+=`` a plain sum, but where something that shares its memory is read later::

        y = x[:, :2]       before:  getitem = x[:, :2]              after:  the same, as x has the sum
        y += 1                      iadd = operator.iadd(getitem, 1)
        return x + z                add = x + z
        h = conv(x)        before:  conv = call_module[conv](x)     after:  conv = call_module[conv](x)
        h += x                      iadd = operator.iadd(conv, x)           add = conv + x
        return relu(h)              relu = relu(iadd)                       relu = relu(add)
        h[:, 0] = 0                 setitem = operator.setitem(conv, ...)   assigned = assigned(conv, ...)
        return relu(h)              relu = relu(conv)                       relu = relu(assigned)

    What is kept in place computes what the model computes, in training too; the passes behind refuse what they cannot
    have in place.
    """
    for node in list(graph.nodes):
        if node.target is operator.setitem:
            _settle_assignment(model, graph, node)
    order = {node: i for i, node in enumerate(graph.nodes)}
    owner = memory_owners(model, graph, functions=True)
    numbers: set[fx.Node] = set()
    for node in graph.nodes:
        if _gives_numbers(node, numbers):
            numbers.add(node)
        if node.target in AUGMENTED and (node in numbers or not _is_seen(node, owner, order)):
            node.target = AUGMENTED[node.target]


def _settle_assignment(model: nn.Module, graph: fx.Graph, node: fx.Node) -> None:
    """Who reads ``x`` behind the assignment reads a new value, if no other name of that memory is read there."""
    args: tuple[Any, ...] = node.args
    x, index, value = args
    order = {each: i for i, each in enumerate(graph.nodes)}
    owner = memory_owners(model, graph, functions=True)
    others = {each for each, shared in owner.items() if shared is owner[x] and order[each] < order[node]} - {x}
    if _adds_to(value, x, index, node):  # ``x[i] += y`` is ``x[i] = (x[i] += y)``
        value.target = AUGMENTED[value.target]
        others -= {value.args[0], value}
    if owner[x].op == "get_attr" or any(order[user] > order[node] for other in others for user in other.users):
        return
    with graph.inserting_before(node):
        made = graph.call_function(assigned, args)
    made.meta = {**node.meta}
    for user in [user for user in x.users if order.get(user, 0) > order[node]]:
        user.replace_input_with(x, made)
    graph.erase_node(node)


def _adds_to(value: Any, x: fx.Node, index: Any, node: fx.Node) -> bool:
    """Whether what is assigned is the same part of ``x``, with a sum in place that nothing else reads."""
    if not isinstance(value, fx.Node) or value.target not in AUGMENTED or {*value.users} != {node}:
        return False
    part: Any = value.args[0]
    return part.target is operator.getitem and part.args == (x, index) and {*part.users} == {value}


def _is_seen(node: fx.Node, owner: dict[fx.Node, fx.Node], order: dict[fx.Node, int]) -> bool:
    """Whether something else than its result has what ``node`` writes, and is read later."""
    memory = owner[node]
    if memory.op == "get_attr":  # which the next run reads
        return True
    others: set[fx.Node] = set()
    for other, shared in owner.items():
        # A name from before, or a view that is taken later by such a name.
        if shared is memory and (order[other] < order[node] or not others.isdisjoint(other.all_input_nodes[:1])):
            if other is not node:
                others.add(other)
    return any(order[user] > order[node] and user not in others for other in others for user in other.users)


def _gives_numbers(node: fx.Node, numbers: set[fx.Node]) -> bool:
    if node.op == "call_method":
        return node.target in _NUMBERS
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in _NUMBER_ATTRIBUTES
    sources = node.all_input_nodes
    computed = getattr(node.target, "__module__", None) in ("_operator", "builtins", "math")
    return computed and bool(sources) and numbers.issuperset(sources)
