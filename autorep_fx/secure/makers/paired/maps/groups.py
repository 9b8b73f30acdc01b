"""Which maps are on the way at once, so that what the server has of the client's messages is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .....text import brief
from ....plan.plan import Plan, Step
from .messages import sizes

#: Bytes of the client's messages that the server has at once: as much as a party keeps of transfers. A message for one
#: sample may be longer.
HELD = 2**26


class Part(NamedTuple):
    """A map of some of the samples, asked for in one message.

    Attributes:
        number: of the step.
        samples: which of all that are prepared together.
        transform_bits: as of :func:`~.packing.choose`.
    """

    number: int
    step: Step
    samples: slice
    transform_bits: int

    def __repr__(self) -> str:
        return brief(self)

    @property
    def size(self) -> int:
        return self.samples.stop - self.samples.start

    @property
    def words(self) -> tuple[int, int]:
        """Of the client's message and of the server's."""
        return sizes(self.step, self.size, self.transform_bits)


def in_groups(plan: Plan, samples: int, transform_bits: int = 0) -> list[list[Part]]:
    """All maps of so many samples, in order; those of a group are on the way at once, and answered before the next."""
    found: list[list[Part]] = []
    most, left = HELD // 8, 0
    for number, step in enumerate(plan.steps):
        for part in _parts(number, step, samples, most, transform_bits) if step.op == "map" else ():
            words = part.words[0]
            if not found or words > left:
                found.append([])
                left = most
            found[-1].append(part)
            left -= words
    return found


def _parts(number: int, step: Step, samples: int, most: int, transform_bits: int) -> Iterator[Part]:
    """In as few messages as fit, each of as many samples: weights are laid out for one size of batch."""
    fit = (n for n in range(samples, 0, -1) if not samples % n and sizes(step, n, transform_bits)[0] <= most)
    size = next(fit, 1)
    for first in range(0, samples, size):
        yield Part(number, step, slice(first, first + size), transform_bits)
