"""``x += y`` in forward(): it changes what shares memory with ``x``, and symbolic tracing records a plain sum.

It is recorded in place (recorded.py), and made a plain sum here where nobody can tell the difference.
"""

from __future__ import annotations

from torch import fx, nn

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

    What is kept in place computes what the model computes, in training too; the passes behind refuse what they cannot
    have in place.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    owner = memory_owners(model, graph, functions=True)
    numbers: set[fx.Node] = set()
    for node in graph.nodes:
        if _gives_numbers(node, numbers):
            numbers.add(node)
        if node.target in AUGMENTED and (node in numbers or not _is_seen(node, owner, order)):
            node.target = AUGMENTED[node.target]


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
