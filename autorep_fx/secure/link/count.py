"""What a party counted in one phase."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Count:
    """Bytes and messages sent to each peer, headers included, and the depth of the messages seen."""

    bytes_sent: dict[str, int]
    messages_sent: dict[str, int]
    depth: int

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes_sent.values())
