"""The server's part of a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import FormatError
from ...text import brief


@dataclass(frozen=True)
class Numbers:
    """The server's part of one step, ring elements (uint64).

    Attributes:
        weight: of a map; None elsewhere.
        constant: added to the step's result, or to the wire before it is masked; broadcasts over the sample.
        bits: 16, 32 or 64, the width that holds every weight, signed.
    """

    weight: np.ndarray | None = None
    constant: np.ndarray | None = None
    bits: int = 64

    __repr__ = brief

    @property
    def of_map(self) -> np.ndarray:
        """The weight.

        Raises:
            FormatError: there is none.
        """
        if self.weight is None:
            raise FormatError("a map needs a weight, and the server's numbers have none for it")
        return self.weight
