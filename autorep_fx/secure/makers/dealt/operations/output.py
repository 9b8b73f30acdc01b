"""What is dealt for the output: what an activation takes that keeps nothing."""

from __future__ import annotations

from ..dealing import Dealing
from .activation import deal

DEALING = Dealing(deal)
