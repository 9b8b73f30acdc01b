"""The form of a model's output: which tensors it returns, in what, and what it does to them last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx

from ...graph.finish import Finish
from ...graph.names import ALONG
from ..program.outputs import Form
from ..program.shapes import Shape
from .call import Unsupported


def form_of(result: Any, finishes: Mapping[fx.Node, Finish], place: Callable[[fx.Node], tuple[int, Shape]],
            tail: Mapping[fx.Node, str | tuple[str, ...]]) -> Form:  # fmt: skip
    """The form of what a graph returns.

    place: where the values of a node start in the row that the client learns of each sample, and their shape. tail:
    what the client has of nodes that it computes.

    Raises:
        Unsupported: there is something else in it than tensors that depend on the input.
    """
    if result is None:
        return {"none": None}
    if isinstance(result, dict) and all(type(key) is str for key in result):
        return {"dict": {key: form_of(value, finishes, place, tail) for key, value in result.items()}}
    if isinstance(result, (tuple, list)):
        kind = "tuple" if isinstance(result, tuple) else "list"
        return {kind: [form_of(value, finishes, place, tail) for value in result]}
    if not isinstance(result, fx.Node):
        raise Unsupported(
            f"the model returns {type(result).__name__}; what can be returned are tensors that depend on the input, in "
            "tuples, lists and dicts with strings as keys"
        )
    if result in tail:
        name = tail[result]
        return {"value": name} if isinstance(name, str) else {"tuple": [{"value": each} for each in name]}
    source, then = result, []
    while source in finishes:
        if finishes[source].name is not None:
            then.insert(0, finishes[source])
        source = finishes[source].source
    start, shape = place(source)
    return {"tensor": [start, list(shape), [[each.name, _dim(each, result, len(shape) + 1)] for each in then]]}


def _dim(finish: Finish, node: fx.Node, axes: int) -> int:
    if finish.name not in ALONG:
        return 0
    # What is left out means this, in old code.
    dim = (0 if axes in (1, 3) else 1) if finish.dim is None else finish.dim
    if dim % axes == 0:
        raise Unsupported(f"{finish.name} of '{node.name}' goes along the batch; give it another dim")
    return dim % axes
