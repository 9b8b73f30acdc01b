"""A listener: who comes in shows a certificate in time, or is turned away without holding up anybody."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import structlog

from ..errors import PartyError
from ..secure.link.stream import StreamChannel
from ..secure.link.tls import Identity, name_of, reason_of, shake_hands, speaks_tls
from ..secure.owner import Owner
from ..text import brief
from .greeting import refuse
from .listening import listen

#: Seconds that a newcomer has for the handshake, and then to say what it wants.
PATIENCE = 10.0

#: Seconds that a stranger is left alone, whoever else would like its place: handshakes are done by then.
_A_MOMENT = 1.0

#: Seconds between two lines of the log that say the same of strangers.
_BETWEEN = 1.0

log = structlog.get_logger()

#: What is done with a connection: its channel, and whom its certificate names ("" on a plain one).
Handler = Callable[[StreamChannel, str], None]


@dataclass(eq=False)
class _Stranger:
    """Who has not said yet what it wants. address: as it is counted."""

    address: str
    connection: socket.socket
    since: float

    __repr__ = brief


class Gate:
    """Accepts connections, each handled by a thread.

    Where there is no room, the stranger that has been silent longest is hung up on, if it had a moment to speak; else
    the newcomer is.

    Args:
        me: who listens here, for errors.
        identity: None for plain TCP.
        most: connections at once.
        strangers: of them, those of one address (in IPv6: of one network of 2**64) that have not said what they want.

    Attributes:
        address: HOST, PORT that it listens on.

    Raises:
        PartyError: it cannot listen there; names the port.
    """

    def __init__(self, me: str, address: tuple[str, int], identity: Identity | None, most: int, strangers: int,
                 handler: Handler):  # fmt: skip
        self.me, self._most, self._most_strangers, self._handler = me, most, strangers, handler
        self._context = None if identity is None else identity.context(listens=True)
        self._listener = listen("listen", address)
        self.address = self._listener.getsockname()[:2]
        self._threads: set[threading.Thread] = set()
        self._strangers: dict[threading.Thread, _Stranger] = {}  # the oldest first
        self._said: dict[str, float] = {}
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._owner = Owner(f"the gate of this {me}")

    @property
    def open(self) -> bool:
        return not self._closed.is_set()

    def run(self) -> None:
        """Accept until :meth:`close`.

        Raises:
            PartyError: another process listens.
        """
        self._owner.check()
        while self.open:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                if self.open:
                    time.sleep(0.05)  # no descriptor is free; one will be
                continue
            address = counted(peer[0])
            with self._lock:
                if (full := self._no_room(address)) is None:
                    thread = threading.Thread(target=self._receive, args=(connection, peer), daemon=True)
                    self._threads.add(thread)  # close waits for what is started
                    self._strangers[thread] = _Stranger(address, connection, time.monotonic())
                    thread.start()
            if full is not None:
                connection.close()
                self._warn(full, peer[0])

    def welcome(self, channel: StreamChannel) -> None:
        """Who is behind the channel that this thread handles has said what it wants, and is waited for at the end."""
        channel.deadline = float("inf")
        with self._lock:
            self._strangers.pop(threading.current_thread(), None)

    def close(self, grace: float = 0.0) -> None:
        """Accept no more, hang up on strangers, and wait so long for what runs."""
        if not self._owner.here or not self.open:
            return
        self._closed.set()
        _shut(self._listener)  # accept returns
        self._listener.close()
        with self._lock:
            for stranger in self._strangers.values():
                _shut(stranger.connection)
            threads = list(self._threads)
        until = time.monotonic() + grace
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))

    def _no_room(self, address: str) -> str | None:
        """Why a newcomer of this address has none, also after a stranger that is silent too long was hung up on."""
        of_address = [thread for thread, other in self._strangers.items() if other.address == address]
        if len(of_address) >= self._most_strangers:
            full, silent = "too many connections of one address that say nothing", of_address
        elif len(self._threads) >= self._most:
            full, silent = "too many connections", self._of_the_busiest()
        else:
            return None
        if not silent or time.monotonic() - self._strangers[silent[0]].since < _A_MOMENT:
            return full
        self._threads.discard(silent[0])
        _shut(self._strangers.pop(silent[0]).connection)
        return None

    def _of_the_busiest(self) -> list[threading.Thread]:
        """The strangers of the address that has most of them."""
        for busiest, _ in Counter(stranger.address for stranger in self._strangers.values()).most_common(1):
            return [thread for thread, stranger in self._strangers.items() if stranger.address == busiest]
        return []

    def _warn(self, why: str, peer: str) -> None:
        """Not each time: whoever floods this does not flood the log."""
        now = time.monotonic()
        if now - self._said.get(why, 0.0) >= _BETWEEN:
            self._said[why] = now
            log.warning("turned away", why=why, peer=peer)

    def _receive(self, connection: socket.socket, peer: tuple) -> None:
        channel, name, until = None, "", time.monotonic() + PATIENCE
        try:
            connection.settimeout(PATIENCE)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            with self._lock:
                stranger = self._strangers.get(threading.current_thread())
                if stranger is None or not self.open:  # hung up on while there was nothing to be hung up
                    return
                stranger.connection = connection
            if self._context is not None:
                if not speaks_tls(connection):
                    self._refuse_plain(connection, until)
                connection.settimeout(max(until - time.monotonic(), 0.001))
                shake_hands(connection)
                name = name_of(connection)
            channel = StreamChannel(connection, self.me, name or "newcomer", timeout=PATIENCE)
            channel.deadline = until
            self._handler(channel, name)
        except (OSError, PartyError) as error:
            log.warning("connection ended", peer=peer[0], name=name, why=reason_of(error))
        except Exception:
            log.exception("a connection's thread failed", peer=peer[0], name=name)
        finally:
            if channel is not None:
                channel.close()
            else:
                connection.close()
            with self._lock:
                self._strangers.pop(threading.current_thread(), None)
                self._threads.discard(threading.current_thread())

    def _refuse_plain(self, connection: socket.socket, until: float) -> NoReturn:
        """Tell who speaks plain TCP what is wanted here, in its own words.

        Raises:
            PartyError: always.
        """
        plain = StreamChannel(socket.socket(fileno=os.dup(connection.fileno())), self.me, "newcomer", timeout=PATIENCE)
        plain.deadline = until
        try:
            plain.receive_letter()  # who hangs up on what it has not read may not be heard
            refuse(plain, f"the {self.me} wants a client certificate; pass --cert and --ca (in Python tls=(cert, ca))")
        finally:
            plain.close()


def counted(host: str) -> str:
    """What an address is counted as: whoever has one of IPv6 has 2**64 of them."""
    found = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def _shut(connection: socket.socket) -> None:
    """Hang up, whoever reads or writes there."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # SSLSocket's own takes TLS off first
