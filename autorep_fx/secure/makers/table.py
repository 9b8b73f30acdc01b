"""Which makers of correlations there are."""

from __future__ import annotations

from .dealt.maker import Dealt
from .maker import Maker
from .paired.maker import Paired

#: With a dealer, and without one.
DEALT: Maker = Dealt()
PAIRED: Maker = Paired()

MAKERS: dict[str, Maker] = {maker.name: maker for maker in (DEALT, PAIRED)}


def maker_of(dealer: bool) -> Maker:
    """The one that ``dealer=`` means."""
    return DEALT if dealer else PAIRED
