"""Who may come in: the parties of one session share a random token, and whoever does not know it is turned away."""

from __future__ import annotations

import hmac
import logging
import secrets
import selectors
import socket
import time
from typing import Any

TOKEN_BYTES = 16
_NAME_BYTES = 8

#: Seconds that a newcomer has to say who it is, and how many may be about it at once.
PATIENCE = 5.0
_CROWD = 64

log = logging.getLogger(__name__)


def new_token() -> bytes:
    return secrets.token_bytes(TOKEN_BYTES)


def listen() -> socket.socket:
    """A listener on a free port of the loopback interface."""
    return socket.create_server(("127.0.0.1", 0), backlog=_CROWD)


def introduce(connection: socket.socket, name: str, token: bytes) -> None:
    """The first bytes of a connection: who this is."""
    connection.sendall(token + name.encode().ljust(_NAME_BYTES, b"\0"))


def admit(listener: socket.socket, names: set[str], token: bytes, deadline: float) -> dict[str, socket.socket]:
    """Wait until everyone of ``names`` has come in; one connection each, blocking.

    A stranger (a wrong token, a name that is not awaited, or nothing said within ``PATIENCE``) is turned away, and
    holds up nobody.

    Args:
        deadline: of ``time.monotonic``.

    Raises:
        TimeoutError: not everyone came.
    """
    found: dict[str, socket.socket] = {}
    guests: dict[socket.socket, tuple[float, bytearray]] = {}  # oldest first: until when, and what it has said
    listener.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)

        def turn_away(guest: socket.socket, why: str) -> None:
            selector.unregister(guest)
            del guests[guest]
            guest.close()
            log.warning("a stranger at the door was turned away: %s", why)

        try:
            while names - found.keys():
                now = time.monotonic()
                if now >= deadline:
                    raise TimeoutError
                until = min([deadline, *(until for until, _ in guests.values())])
                for key, _ in selector.select(max(until - now, 0)):
                    guest: Any = key.fileobj  # a socket, the listener's or a guest's
                    if guest is listener:
                        if len(guests) == _CROWD:
                            turn_away(next(iter(guests)), "too many at once")
                        if (guest := _accept(listener)) is not None:
                            guests[guest] = time.monotonic() + PATIENCE, bytearray()
                            selector.register(guest, selectors.EVENT_READ)
                        continue
                    if guest not in guests:
                        continue
                    said = guests[guest][1]
                    more = _hear(guest, TOKEN_BYTES + _NAME_BYTES - len(said))
                    said += more
                    if more and len(said) < TOKEN_BYTES + _NAME_BYTES:
                        continue
                    name = said[TOKEN_BYTES:].rstrip(b"\0").decode(errors="replace")
                    if not hmac.compare_digest(bytes(said[:TOKEN_BYTES]), token):
                        turn_away(guest, "it does not know the token")
                    elif name not in names - found.keys():
                        turn_away(guest, f"nobody awaits {name!r}")
                    else:
                        selector.unregister(guest)
                        del guests[guest]
                        guest.setblocking(True)
                        found[name] = guest
                for guest in [g for g, (until, _) in guests.items() if until <= time.monotonic()]:
                    turn_away(guest, "it did not say who it is")
        except BaseException:
            for connection in found.values():
                connection.close()
            raise
        finally:
            for guest in guests:
                guest.close()
    return found


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        guest, _ = listener.accept()
    except OSError:
        return None  # it left before it came in
    guest.setblocking(False)
    return guest


def _hear(guest: socket.socket, count: int) -> bytes:
    """What there is; nothing where it hung up."""
    try:
        return guest.recv(count)
    except OSError:
        return b""
