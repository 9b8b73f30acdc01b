"""For the output: what an activation takes that keeps nothing."""

from __future__ import annotations

from ..making import Making
from .activation import joined, make, needs, units, words

MAKING = Making(units, needs, words, make, joined)
