"""A listener: who comes in shows a certificate in time, or is turned away without holding up anybody."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import NoReturn

import structlog

from ..errors import PartyError
from ..secure.link.stream import StreamChannel
from ..secure.link.tls import Identity, name_of, reason_of, shake_hands, speaks_tls
from ..secure.owner import Owner
from .greeting import refuse

#: Seconds that a newcomer has for the handshake, and then to say what it wants.
PATIENCE = 10.0

log = structlog.get_logger()

#: What is done with a connection: its channel, and whom its certificate names ("" on a plain one).
Handler = Callable[[StreamChannel, str], None]


class Gate:
    """Accepts connections, each handled by a thread.

    Args:
        me: who listens here, for errors.
        most: connections at once; beyond that newcomers are hung up on.
        identity: None for plain TCP.

    Attributes:
        address: HOST, PORT that it listens on.
    """

    def __init__(self, me: str, address: tuple[str, int], identity: Identity | None, most: int, handler: Handler):
        self.me, self._handler = me, handler
        self._context = None if identity is None else identity.context(listens=True)
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=128)
        self.address = self._listener.getsockname()[:2]
        self._room = threading.BoundedSemaphore(most)
        self._threads: set[threading.Thread] = set()
        self._strangers: set[socket.socket] = set()
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
            if not self._room.acquire(blocking=False):
                log.warning("turned away", why="too many connections", peer=peer[0])
                connection.close()
                continue
            thread = threading.Thread(target=self._receive, args=(connection, peer), daemon=True)
            with self._lock:  # close waits for what is started
                self._threads.add(thread)
                thread.start()

    def welcome(self, channel: StreamChannel) -> None:
        """Who is behind a channel has said what it wants: its thread is waited for at the end."""
        with self._lock:
            self._strangers.discard(channel.socket)

    def close(self, grace: float = 0.0) -> None:
        """Accept no more, hang up on strangers, and wait so long for what runs."""
        if not self._owner.here or not self.open:
            return
        self._closed.set()
        _shut(self._listener)  # accept returns
        self._listener.close()
        with self._lock:
            for stranger in self._strangers:
                _shut(stranger)
            threads = list(self._threads)
        until = time.monotonic() + grace
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0))

    def _receive(self, connection: socket.socket, peer: tuple) -> None:
        channel, name = None, ""
        try:
            connection.settimeout(PATIENCE)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            with self._lock:
                if not self.open:  # too late to be hung up on with the others
                    return
                self._strangers.add(connection)
            if self._context is not None:
                if not speaks_tls(connection):
                    self._refuse_plain(connection)
                shake_hands(connection)
                name = name_of(connection)
            channel = StreamChannel(connection, self.me, name or "newcomer", timeout=PATIENCE)
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
            self._room.release()
            with self._lock:
                self._strangers.discard(connection)
                self._threads.discard(threading.current_thread())

    def _refuse_plain(self, connection: socket.socket) -> NoReturn:
        """Tell who speaks plain TCP what is wanted here, in its own words.

        Raises:
            PartyError: always.
        """
        plain = StreamChannel(socket.socket(fileno=os.dup(connection.fileno())), self.me, "newcomer", timeout=PATIENCE)
        try:
            plain.receive_letter()  # who hangs up on what it has not read may not be heard
            refuse(plain, f"the {self.me} wants a client certificate; pass --cert and --ca (in Python tls=(cert, ca))")
        finally:
            plain.close()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
