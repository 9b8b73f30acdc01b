"""What a private run returns and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..text import brief


@dataclass
class Phase:
    """Cost of one phase.

    Attributes:
        seconds: wall time.
        rounds: communication calls that had to wait for one another; tensors sent together are one.
        bytes_sent: by party, everything that it put on the wire in this phase.
        message_bytes: by party, the tensors alone, without the framing of the transport.
    """

    seconds: float = 0.0
    rounds: int = 0
    bytes_sent: dict[str, int] = field(default_factory=dict)
    message_bytes: dict[str, int] = field(default_factory=dict)


@dataclass
class Stats:
    """Cost of one private inference.

    Attributes:
        online: from the input at the client to the output at the client: sharing the input, every step, opening the
            output. CrypTen makes its correlations while it runs, so the time of ``offline`` is inside this time.
        offline: what the provider of correlations did. ``seconds`` is the longest time that a party spent in it, a part
            of ``online.seconds``; its bytes and rounds are counted here and not in ``online``.
        setup: starting the processes, connecting them, and sharing the weights. Needed once per model, not per input.
        memory: bytes, by party: the most that its process has held so far. Empty where it is not known.
        counted: "wire" when bytes are the kernel's count of the TCP sockets, "messages" when ``bytes_sent`` could
            only be set to ``message_bytes`` (systems other than Linux).
    """

    online: Phase
    offline: Phase
    setup: Phase
    counted: str
    memory: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        phases = {"online": self.online, "offline": self.offline, "setup": self.setup}
        costs = (f"{name} {phase.seconds:,.3g} s, {phase.rounds} rounds, {sum(phase.bytes_sent.values()) / 1e6:,.2f} MB"
                 for name, phase in phases.items())  # fmt: skip
        return f"Stats({'; '.join(costs)})"


@dataclass
class Result:
    """What a private run returns.

    Attributes:
        output: what the model returns, a float tensor (N, ...) or several.
        stats: what it cost.
    """

    output: Any
    stats: Stats

    __repr__ = brief
