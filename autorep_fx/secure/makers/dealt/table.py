"""What is dealt for each operation that has masked wires.

The client's half of all shares comes from its seed, the server's is sent. Which arrays: correlations/layout.py.
"""

from __future__ import annotations

from ...program.collected import collected
from . import operations
from .dealing import Dealing

DEALINGS: dict[str, Dealing] = {name: found.DEALING for name, found in collected(operations).items()}
