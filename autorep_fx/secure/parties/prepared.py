"""What the offline phase leaves for the online phase of one inference."""

from __future__ import annotations

import numpy as np

from .activation import Shares
from .correlations import Once


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
            PartyError: they were taken before.
        """
        return self._parts.take()
