"""What the offline phase leaves for the online phase of one inference, and that it is used once."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

import numpy as np

from ...errors import PartyError
from ..owner import Owner

T = TypeVar("T")

#: A party's part of one correlation, by the names of layout.py.
Shares = dict[str, np.ndarray]


class Once(Generic[T]):
    """Something that may be taken once, by the process that made it. A second use of a mask would tell the difference
    of two secrets."""

    def __init__(self, what: str, value: T):
        self._owner, self._value, self._lock = Owner(what), [value], threading.Lock()

    def take(self) -> T:
        """The value.

        Raises:
            PartyError: it was taken before, or another process made it.
        """
        self._owner.check()  # before the lock, which a thread that a fork has not may hold
        with self._lock:
            if not self._value:
                raise PartyError(f"{self._owner.what} was used already; run the offline phase again")
            return self._value.pop()


class Prepared:
    """One inference at the client or the server, ready for its online phase; a store can hold it.

    Args:
        party: whose it is, for errors.
        batch: samples that it is for.
        inference: its number, which names its streams. Both parties' halves have the same.
        masks: by step: the blindings of the client; what the server adds.
        shares: by step: this party's part of the correlations.
    """

    def __init__(self, party: str, batch: int, inference: int, masks: dict[str, np.ndarray], shares: dict[str, Shares]):
        self.batch, self.inference = batch, inference
        self._parts = Once(f"what the {party} prepared for inference {inference}", (masks, shares))

    def __repr__(self) -> str:
        return f"Prepared(batch={self.batch}, inference={self.inference})"

    def take(self) -> tuple[dict[str, np.ndarray], dict[str, Shares]]:
        """Masks and shares. They are gone then, whatever becomes of the online phase.

        Raises:
            PartyError: they were taken before, or another process prepared them.
        """
        return self._parts.take()
