"""What the process of a party tells whoever started it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass
class Report:
    """What a party has done, or that it failed.

    Attributes:
        party: by which name it was started.
        phase: what it has finished; nothing in a failure.
        number: of the request that this is about.
        error, trace: of a failure.
        lost: only a peer's end was seen, so another party is the cause.
    """

    party: Hashable
    phase: str = ""
    number: int = 0
    error: str = ""
    trace: str = ""
    lost: bool = False
