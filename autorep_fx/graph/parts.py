"""Parts of a tensor that are taken along an axis which a permutation put before the batch.

Attention takes its three parts so, ``qkv.permute(2, 0, 3, 1, 4).unbind(0)``::

    before:  permute = qkv.permute(2, 0, 3, 1, 4)        after:  select = qkv.select(2, 0)
             q = permute.unbind(0)[0]                            q = select.permute(0, 2, 1, 3)
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx

from .passes import Pass


class TakePartsFirst(Pass):
    """The part is taken before the rest is permuted, so that axis 0 stays the batch."""

    def run(self, gm: fx.GraphModule) -> None:
        for node in list(gm.graph.nodes):
            dims = _dims(node)
            if not dims or dims[0] == 0:
                continue
            found = list(_parts(node))
            parts = [(part, index) for part, index in found if isinstance(index, int)]
            if not parts or len(parts) < len(found):
                continue
            for part, index in parts:
                self._take(gm, node, dims, part, index)
            for user in list(node.users):
                if not user.users:
                    gm.graph.erase_node(user)
            gm.graph.erase_node(node)

    @staticmethod
    def _take(gm: fx.GraphModule, node: fx.Node, dims: tuple[int, ...], part: fx.Node, index: int) -> None:
        rest = tuple(d - (d > dims[0]) for d in dims[1:])
        with gm.graph.inserting_before(part):
            taken = gm.graph.call_method("select", (node.args[0], dims[0], index))
            moved = gm.graph.call_method("permute", (taken, *rest))
        part.replace_all_uses_with(moved)
        gm.graph.erase_node(part)


def _dims(node: fx.Node) -> tuple[int, ...]:
    """Of a permutation whose axes are counted from the front; () for any other node."""
    if node.target not in ("permute", torch.permute) or node.kwargs:
        return ()
    dims: Any = node.args[1:]
    dims = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    return dims if all(type(d) is int and d >= 0 for d in dims) else ()


def _parts(node: fx.Node) -> Iterator[tuple[fx.Node, Any]]:
    """(what reads one part of ``node`` along its first axis, which); no number where it reads more."""
    for user in node.users:
        if user.target is operator.getitem:
            yield user, user.args[1]
        elif (
            user.target in ("unbind", torch.unbind) and user.args[1:] in ((), (0,)) and user.kwargs in ({}, {"dim": 0})
        ):
            for reader in user.users:
                yield reader, reader.args[1] if reader.target is operator.getitem else None
        else:
            yield user, None
