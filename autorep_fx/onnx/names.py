"""Where in a module the layers and weights of a file go: the paths that they had, as far as the file says."""

from __future__ import annotations

import ast
import re
from functools import cache
from keyword import iskeyword
from typing import TYPE_CHECKING

from torch import Tensor, fx, nn

if TYPE_CHECKING:
    from onnx import NodeProto

#: What names of weights end with: those of torch, Paddle and Keras.
_ROLE = re.compile(r"[._](weights?|w(_\d+)?|kernel|scale|gamma|alpha|bias|beta|offset|b(_\d+)?)(_deepcopy_\d+)?$")

#: Names that an exporter made up.
_MADE_UP = re.compile(r"^(onnx::.*|val_\d+|\d+|node_.*|_.*)$")


def layer_of(weight: str) -> str:
    """``layer1.0.conv1`` of ``layer1.0.conv1.weight``; "" of a name that an exporter made up."""
    role = _ROLE.search(weight)
    return "" if _MADE_UP.match(weight) or role is None else weight[: role.start()]


def path_of(node: NodeProto) -> str:
    """What a node's name says of where it was called.

    ``/layer1/layer1.0/relu/Relu`` is ``layer1.0.relu``; the newer exporter of torch notes the modules themselves.
    """
    kind = node.op_type.lower()
    notes = {entry.key: entry.value for entry in getattr(node, "metadata_props", ())}
    scopes = _list(notes.get("pkg.torch.onnx.name_scopes"))[:-1]
    classes = _list(notes.get("pkg.torch.onnx.class_hierarchy"))
    if scopes and scopes[-1]:
        of_torch = len(classes) > len(scopes) - 1 and classes[len(scopes) - 1].startswith("torch.nn.modules.")
        return scopes[-1] if of_torch else f"{scopes[-1]}.{kind}"
    parts: list[str] = []
    for part in filter(None, node.name.split("/")):
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    if len(parts) > 1 and re.fullmatch(rf"{node.op_type}(_\d+)?", parts[-1]):
        parts.pop()
    return ".".join(parts).removeprefix("node_") if parts and not parts[0].isdigit() else kind


def _list(text: str | None) -> list[str]:
    try:
        found = ast.literal_eval(text) if text else []
    except (ValueError, SyntaxError):
        return []
    return found if isinstance(found, list) and all(isinstance(part, str) for part in found) else []


def place(root: nn.Module, wanted: str, value: nn.Module | Tensor) -> str:
    """Put a module, a parameter or a buffer where ``wanted`` says, or beside it; returns the path."""
    parts = [sound(part) for part in wanted.split(".") if part] or ["layer"]
    owner, depth = _owner(root, parts)
    if depth < len(parts) - 1:  # a layer is in the way: it cannot hold others
        parts = [*parts[:depth], "_".join(parts[depth:])]
    name, count = parts[-1], 0
    while hasattr(owner, name):
        count += 1
        name = f"{parts[-1]}_{count}"
    parts[-1] = name
    if isinstance(value, (nn.Module, nn.Parameter)):
        setattr(owner, name, value)
    else:
        owner.register_buffer(name, value)
    return ".".join(parts)


def _owner(root: nn.Module, parts: list[str]) -> tuple[nn.Module, int]:
    """The module that is to hold the last part, and how many parts lead there."""
    owner = root
    for depth, part in enumerate(parts[:-1]):
        if not hasattr(owner, part):
            setattr(owner, part, nn.Module())
        inner = getattr(owner, part)
        if type(inner) is not nn.Module:
            return owner, depth
        owner = inner
    return owner, len(parts) - 1


@cache
def _of_modules() -> set[str]:
    return {"self", *dir(fx.GraphModule(nn.Module(), fx.Graph()))}


def sound(part: str) -> str:
    """A part of a path, or the name of an input, that the text of a graph can have."""
    part = re.sub(r"\W", "_", part)
    return f"{part}_" if iskeyword(part) or part in _of_modules() else part
