"""Names of the streams of a party's own seed; no seed is shared here.

Slots of the client's: the blinding B of a wire. Of the server's: the mask s of a wire.
"""

from __future__ import annotations

BLIND, WIRE_MASK = range(2)
