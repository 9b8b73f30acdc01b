"""What one walk over examples shows of a program's values: how large they are, where they lie, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...text import brief
from ..program.plaintext import single, walk
from ..program.program import Program
from .equalize import scaled
from .ranges import evenly
from .reach import Reach, by_sample


@dataclass(frozen=True)
class Seen:
    """Of N samples.

    Attributes:
        largest: of every value, by channel, (N, C).
        means: likewise, in shapes (N, C, 1, ...) that broadcast to the value's.
        output: (N, ...).
    """

    largest: Reach
    means: Mapping[str, Tensor]
    output: Tensor

    __repr__ = brief

    def means_of(self, which: list[int]) -> dict[str, np.ndarray]:
        """Of these samples."""
        return {name: mean[which].double().numpy() for name, mean in self.means.items()}

    def scaled(self, factors: Reach) -> Seen:
        """What is seen where values are multiplied by ``factors``, by channel."""
        means = dict(self.means)
        for name, factor in factors.items():
            mean = self.means[name]
            shape = (-1, *(1,) * (mean.dim() - 2)) if mean.dim() > 1 else ()
            means[name] = mean.double() * torch.from_numpy(factor).reshape(shape)
        return Seen(scaled(self.largest, factors), means, self.output)

    def of(self, which: slice) -> Seen:
        """Of some of the samples."""
        return Seen({name: found[which] for name, found in self.largest.items()},
                    {name: mean[which] for name, mean in self.means.items()}, self.output[which])  # fmt: skip


def seen(program: Program, x: Tensor) -> Seen:
    """Of one walk over (N, ...)."""
    parts = [_of_part(program, part) for part in evenly(program, x)]
    names = parts[0].largest
    return Seen({name: np.concatenate([part.largest[name] for part in parts]) for name in names},
                {name: torch.cat([part.means[name] for part in parts]) for name in names},
                torch.cat([part.output for part in parts]))  # fmt: skip


def seen_in_single(program: Program, x: Tensor) -> Seen:
    """The same in float32, where that is large enough."""
    found = seen(single(program), x)
    return found if all(np.isfinite(each).all() for each in found.largest.values()) else seen(program, x)


def _of_part(program: Program, part: Tensor) -> Seen:
    largest, means = {}, {}

    def see(name: str, value: Tensor) -> None:
        largest[name], means[name] = by_sample(value), _mean(value)

    return Seen(largest, means, walk(program, part, see))


def _mean(value: Tensor) -> Tensor:
    return value.mean([*range(2, value.dim())], keepdim=True) if value.dim() > 2 else value
