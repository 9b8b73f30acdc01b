"""What a service does for its maker of correlations."""

from __future__ import annotations

from . import dealt, paired, preparing


def at_server(dealer: str | None) -> type[preparing.AtServer]:
    """With a dealer at an address, or without one."""
    return paired.AtServer if dealer is None else dealt.AtServer


def at_client(dealer: str | None) -> type[preparing.AtClient]:
    """As :func:`at_server`."""
    return paired.AtClient if dealer is None else dealt.AtClient
