"""Which makers of correlations there are."""

from __future__ import annotations

from ..link.network import Network
from .dealt.maker import Dealt
from .maker import Maker
from .paired.half import Extension
from .paired.maker import Paired
from .paired.ot import Ferret, SoftSpoken

#: With a dealer.
DEALT: Maker = Dealt()

#: Without one: the quicker one where bytes cost little, and the one that sends less, in fewer messages.
PAIRED: Maker = Paired("paired", Extension(SoftSpoken(), 2**20, transform_bits=12_000))
PAIRED_SMALL: Maker = Paired("paired-ferret", Extension(Ferret(), 2**17, 3 * 2**25))

MAKERS: dict[str, Maker] = {maker.name: maker for maker in (DEALT, PAIRED, PAIRED_SMALL)}

#: Up to so many Mbit/s it takes longer to send SoftSpokenOT's four bytes a transfer than to compute Ferret's.
_SLOW = 2000


def maker_of(dealer: bool, network: Network) -> Maker:
    """The one that ``dealer=`` means on a network."""
    if dealer:
        return DEALT
    return PAIRED_SMALL if network.mbps <= _SLOW else PAIRED
