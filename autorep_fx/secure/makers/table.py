"""Which makers of correlations there are."""

from __future__ import annotations

from .dealt.maker import Dealt
from .maker import Maker

#: With a dealer.
DEALT: Maker = Dealt()

MAKERS: dict[str, Maker] = {maker.name: maker for maker in (DEALT,)}
