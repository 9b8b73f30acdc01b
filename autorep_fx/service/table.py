"""What server and client do to prepare, with a dealer and without one."""

from __future__ import annotations

from . import dealt, paired, preparing


def at_server(dealer: bool) -> type[preparing.AtServer]:
    return dealt.AtServer if dealer else paired.AtServer


def at_client(dealer: bool) -> type[preparing.AtClient]:
    return dealt.AtClient if dealer else paired.AtClient
