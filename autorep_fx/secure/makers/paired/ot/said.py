"""How much one party says in a step of a protocol: what is declared."""

from __future__ import annotations

from dataclasses import dataclass

from .....text import brief
from ....link.message import HEADER_BYTES


@dataclass(frozen=True)
class Said:
    """Messages of one party, and words (8 bytes) in all of them."""

    messages: int = 0
    words: int = 0

    __repr__ = brief

    def __add__(self, other: Said) -> Said:
        return Said(self.messages + other.messages, self.words + other.words)

    @property
    def bytes(self) -> int:
        """Headers included: what a channel counts."""
        return HEADER_BYTES * self.messages + 8 * self.words
