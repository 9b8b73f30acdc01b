"""What one step of a run on CrypTen sends."""

from __future__ import annotations

from typing import NamedTuple


class Online(NamedTuple):
    """Communication of one step: rounds, and bytes that each party sends (without framing)."""

    rounds: int = 0
    server: int = 0
    client: int = 0
