"""Batches of a model that takes several inputs: what a tensor is where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from ..text import brief


class Inputs:
    """The tensors (N, ...) of one batch, in the order of the model's arguments; it is cut by samples, as a tensor is.

    Attributes:
        parts: one for each input, of as many samples each.
    """

    def __init__(self, parts: Sequence[Tensor]):
        self.parts = tuple(parts)

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, samples: Any) -> Inputs:
        return Inputs([part[samples] for part in self.parts])

    def to(self, *where: Any, **options: Any) -> Inputs:
        return Inputs([part.to(*where, **options) for part in self.parts])

    def detach(self) -> Inputs:
        return Inputs([part.detach() for part in self.parts])

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """For errors: that of each."""
        return tuple(tuple(part.shape) for part in self.parts)


#: A batch.
Batch = Tensor | Inputs


def parts_of(x: Batch) -> tuple[Tensor, ...]:
    """One tensor for each input of a model."""
    return x.parts if isinstance(x, Inputs) else (x,)


def batch_of(parts: Sequence[Tensor]) -> Batch:
    return parts[0] if len(parts) == 1 else Inputs(parts)


def joined(batches: Sequence[Batch]) -> Batch:
    """The samples of all of them."""
    return batch_of([torch.cat(parts) for parts in zip(*map(parts_of, batches))])


def rows(x: Batch) -> Tensor:
    """As a program of several inputs takes them in the clear: side by side."""
    if isinstance(x, Tensor):
        return x
    return torch.cat([part.flatten(1) if part.dim() > 1 else part[:, None] for part in x.parts], 1)


def input_names(gm: fx.GraphModule) -> tuple[str, ...]:
    """What a graph calls its inputs: the names of the arguments of ``forward()``."""
    return tuple(str(node.target) for node in gm.graph.nodes if node.op == "placeholder")


def counted(number: int) -> str:
    return f"{number} input{'s' if number != 1 else ''}"
