"""What a party counted in one phase."""

from __future__ import annotations

from dataclasses import dataclass

from .message import HEADER_BYTES


@dataclass
class Count:
    """Bytes and messages sent to each peer, headers included, and the depth of the messages seen."""

    bytes_sent: dict[str, int]
    messages_sent: dict[str, int]
    depth: int

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes_sent.values())

    @property
    def message_bytes(self) -> int:
        """The arrays alone."""
        return self.total_bytes - HEADER_BYTES * sum(self.messages_sent.values())
