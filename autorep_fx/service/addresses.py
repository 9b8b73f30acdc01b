"""Where the others are, and whether they must show who they are."""

from __future__ import annotations

import ipaddress
import os
import re

from ..errors import PartyError
from ..secure.link.tls import Identity, is_loopback

#: The port of an address, and the name of a machine as the other side may say it.
_PORT = re.compile("[0-9]{1,5}")
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


def address_of(text: str) -> tuple[str, int]:
    """``HOST:PORT``, the host in brackets if it is an IPv6 address.

    Raises:
        ValueError: it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or "/" in host or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def identity_of(
    cert: str | os.PathLike | None, ca: str | os.PathLike | None, plain: bool, *addresses: str | None
) -> Identity | None:
    """Certificate and authorities; None for plain TCP. addresses: None for one that there is not.

    Raises:
        ValueError: half of it, or none where an address is of another machine.
    """
    if cert is not None and ca is not None:
        return Identity(cert, ca)
    if cert is not None or ca is not None:
        raise ValueError("cert and ca go together")
    for address in addresses:
        if address is not None and not plain and not is_loopback(address_of(address)[0]):
            raise ValueError(
                f"{address} is not of this machine: give cert and ca, or plain if the network is protected otherwise"
            )
    return None


def redirected(said: str, identity: Identity | None, plain: bool) -> str:
    """Where a server says that its client finds it for the second connection, which is data like all that others say:
    HOST:PORT, and without certificates of this machine, or ``plain``, as :func:`identity_of` has it. Whom the
    certificate there has to name does not change.

    Raises:
        PartyError: it is none, or the client may not go there.
    """
    try:
        host, port = address_of(said)
    except ValueError:
        raise PartyError(f"client: the server says that it is at {said[:80]!r}, which is not HOST:PORT") from None
    name = _HOST.fullmatch(host) if len(host) < 254 else None
    if not port or not (name or _is_number(host)) or not (said.isascii() and said.isprintable()):
        raise PartyError(f"client: the server says that it is at {said[:80]!r}, where nobody can be")
    if identity is None and not plain and not is_loopback(host):
        raise PartyError(f"client: the server sends its client to {said}, which is not of this machine: give both "
                         "certificates, or plain if the network is protected otherwise")  # fmt: skip
    return said


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
