"""Where the others are, and whether they must show who they are."""

from __future__ import annotations

import os

from ..secure.link.tls import Identity, is_loopback


def address_of(text: str) -> tuple[str, int]:
    """``HOST:PORT``, the host in brackets if it is an IPv6 address.

    Raises:
        ValueError: it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def identity_of(
    cert: str | os.PathLike | None, ca: str | os.PathLike | None, plain: bool, *addresses: str
) -> Identity | None:
    """Certificate and authorities; None for plain TCP.

    Raises:
        ValueError: half of it, or none where an address is of another machine.
    """
    if cert is not None and ca is not None:
        return Identity(cert, ca)
    if cert is not None or ca is not None:
        raise ValueError("cert and ca go together")
    for address in addresses:
        if not plain and not is_loopback(address_of(address)[0]):
            raise ValueError(
                f"{address} is not of this machine: give cert and ca, or plain if the network is protected otherwise"
            )
    return None
