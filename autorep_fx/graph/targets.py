"""What a node of a graph calls by name."""

from __future__ import annotations

from torch import fx, nn


def path_of(node: fx.Node) -> str:
    """The path of the module or the attribute that a node is of, or the name of the method that it calls."""
    if not isinstance(node.target, str):
        raise TypeError(f"node '{node.name}' calls {node.target}, which has no path")
    return node.target


def module_of(gm: nn.Module, node: fx.Node) -> nn.Module:
    """The module that a node calls."""
    return gm.get_submodule(path_of(node))
