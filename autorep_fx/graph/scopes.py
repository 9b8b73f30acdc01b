"""Paths in a model: where a node was written, and where something new may go."""

from __future__ import annotations

from torch import fx, nn


def scope_of(node: fx.Node) -> str:
    """Path of the module whose ``forward`` wrote this node; "" for the model itself.

    A module kept whole is in the scope of its caller.
    """
    scopes = list(node.meta.get("nn_module_stack") or ())
    if node.op == "call_module" and scopes:
        scopes.pop()
    return scopes[-1].split("@")[0] if scopes else ""


def unique_target(gm: fx.GraphModule, wanted: str) -> str:
    """``wanted``, or ``wanted_1``, ``wanted_2``, ... : a path at which ``gm`` has nothing yet."""
    target, count = wanted, 0
    while _has(gm, target):
        count += 1
        target = f"{wanted}_{count}"
    return target


def _has(module: nn.Module, path: str) -> bool:
    for part in path.split("."):
        if not hasattr(module, part):
            return False
        module = getattr(module, part)
    return True
