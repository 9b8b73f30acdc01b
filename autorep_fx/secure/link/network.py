"""The link between client and server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A link between the parties.

    Attributes:
        rtt_ms: round trip time in milliseconds.
        mbps: rate in Mbit/s, each way.
    """

    rtt_ms: float = 0.0
    mbps: float = float("inf")

    @property
    def delay(self) -> float:
        """Seconds one way."""
        return self.rtt_ms / 2000

    def seconds(self, size: int) -> float:
        """Seconds that ``size`` bytes occupy the link."""
        return size * 8 / (self.mbps * 1e6)


#: Networks that have a name.
NETWORKS = {"loopback": Network(0.07, 36_000), "lan": Network(0.2, 10_000), "wan": Network(40, 100)}


def network_of(value: Network | str) -> Network:
    """A network, or the one of that name.

    Raises:
        ValueError: no network has that name.
    """
    if isinstance(value, Network):
        return value
    if value not in NETWORKS:
        raise ValueError(f"network must be a Network or one of {', '.join(map(repr, NETWORKS))}, got {value!r}")
    return NETWORKS[value]
