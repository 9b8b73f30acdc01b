"""For the output: what an activation takes that keeps nothing."""

from __future__ import annotations

from ..making import Making
from .activation import make, transfers, words

MAKING = Making(transfers, words, make)
