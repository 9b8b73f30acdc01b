"""Names that the source text of a GraphModule cannot have."""

from __future__ import annotations

from functools import cache
from keyword import iskeyword

from torch import fx, nn

from ..errors import TraceError
from .targets import path_of


@cache
def _reserved_names() -> set[str]:
    """Names of top-level attributes that a GraphModule has and a module has not."""
    return {"self", *dir(fx.GraphModule(nn.Module(), fx.Graph()))} - set(dir(nn.Module()))


def refuse_names(node: fx.Node) -> None:
    """An error for a name of ``node``, or of what it calls, that no source text can hold."""
    path = path_of(node).split(".") if node.op in ("call_module", "get_attr") else []
    if path and path[0] in _reserved_names():
        raise TraceError(
            f"the model has an attribute '{path[0]}', a name that the resulting torch.fx.GraphModule needs for itself; "
            "rename it"
        )
    if keywords := [name for name in path if iskeyword(name)]:
        raise TraceError(
            f"the model has a module or tensor '{path_of(node)}', and '{keywords[0]}' is a keyword of Python, which a "
            f"graph cannot be written with; name it otherwise ('{keywords[0]}_'), in files of weights as well"
        )
    if keywords := [name for name in node.kwargs if iskeyword(name)]:
        raise TraceError(
            f"forward() gives '{node.name}' an argument called '{keywords[0]}', a keyword of Python, which a graph "
            "cannot be written with; give it another name"
        )
