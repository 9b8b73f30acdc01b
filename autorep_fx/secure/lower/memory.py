"""What shares memory with what in a run of a graph, and who reads it when something else is there already."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import torch
from torch import Tensor, fx

from ...graph.unread import written


class Memory:
    """The memory of every node's value in a run that has been.

    Args:
        gm: the graph.
        values: what every node gave, all of them still held.
    """

    def __init__(self, gm: fx.GraphModule, values: dict[fx.Node, Any]):
        self.gm, self.values = gm, values
        self.order = {node: i for i, node in enumerate(gm.graph.nodes)}

    def of(self, node: fx.Node) -> set[int]:
        """Addresses of the memories that a node's value lives in."""
        return {tensor.untyped_storage().data_ptr() for tensor in tensors(self.values.get(node)) if tensor.numel()}

    def overwritten_by(self, nodes: Iterable[fx.Node]) -> set[int]:
        """Addresses of the memories that one of ``nodes`` writes into."""
        sources = (written(self.gm, node) for node in nodes)
        return {address for source in sources if source is not None for address in self.of(source)}

    def stale_reader(self, node: fx.Node, among: Container[fx.Node]) -> tuple[fx.Node, fx.Node] | None:
        """(value, reader): a value that ``node`` overwrites in place, and what reads it later by its old name.

        The model has the new numbers there, and a program of values has the old ones. Readers ``among`` these count.
        """
        source = written(self.gm, node)
        if source is None or not self.of(source):
            return None
        stale: list[fx.Node] = []
        for other in self.gm.graph.nodes:
            if other is node or not self.of(other) & self.of(source):
                continue
            # A name from before, or a view that is taken by such a name.
            if self.order[other] < self.order[node] or any(n in stale for n in other.all_input_nodes):
                stale.append(other)
        for other in stale:
            late = [u for u in other.users if self.order[u] > self.order[node] and u in among and u not in stale
                    and (u.op == "output" or tensors(self.values[u]))]  # fmt: skip
            if late and torch.isin(self._places(other), self._places(source)).any():
                return other, late[0]
        return None

    def _places(self, node: fx.Node) -> Tensor:
        """Bytes of the memory at which elements of a node's value begin."""
        found = []
        for tensor in tensors(self.values[node]):
            offsets = torch.arange(tensor.storage_offset(), tensor.storage_offset() + 1)
            for size, stride in zip(tensor.shape, tensor.stride()):
                offsets = (offsets[:, None] + torch.arange(size) * stride).flatten()
            found.append(offsets * tensor.element_size() + tensor.untyped_storage().data_ptr())
        return torch.cat(found)


def tensors(value: Any) -> list[Tensor]:
    """Those in a value that may be nested."""
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for part in parts for tensor in tensors(part)]
