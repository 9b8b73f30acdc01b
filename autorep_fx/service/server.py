"""The server as a service: a session for each client, its inferences prepared ahead, each answered once.

A session has two connections of its client, and one to the dealer, where there is one. On the first of them inferences
are prepared, on the second they are answered, so that neither waits for the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import structlog

from ..errors import CheckFailed, PartyError, PeerLost, Refused
from ..secure.link.message import REQUEST
from ..secure.link.stream import StreamChannel
from ..secure.link.tls import fingerprint_of
from ..secure.parties.server import Server
from ..secure.parties.weights import Weights
from ..secure.plan.plan import Plan
from .addresses import address_of
from .greeting import TurnedAway, check_dealer, check_terms, new_session, refuse, tell
from .metrics import Metrics
from .pool import Pool, prepared_pool
from .preparing import AtServer, Failed
from .service import Service
from .settings import Serve
from .traffic import Load

#: All that a client is told whose messages have not passed a check, whatever is wrong with them.
_FAILED = "the client's messages did not pass the check"

log = structlog.get_logger()


@dataclass
class _Session:
    """What the two threads of a session share."""

    name: str
    client: str
    fingerprint: str
    pool: Pool
    free: threading.Lock = field(default_factory=threading.Lock)  # until its second connection comes
    over: threading.Event = field(default_factory=threading.Event)
    held: dict[int, int] = field(default_factory=dict)  # samples of what is prepared, by number


class ServerService(Service):
    """Serves one program.

    Args:
        plan: as it was published.
        weights: of the program.
        preparing: what is done offline beside the maker's half; has the comparison, of which clients are told.
        terms: what its clients must have alike (published.py).
    """

    def __init__(
        self,
        plan: Plan,
        weights: Weights,
        preparing: AtServer,
        settings: Serve,
        metrics: Metrics,
        terms: Mapping[str, str],
    ):
        self.comparison, self.terms = preparing.comparison, terms
        self.plan, self.weights, self.preparing = plan.with_comparison(self.comparison), weights, preparing
        if settings.advertise:
            address_of(settings.advertise)  # before a client is told
        self.load = Load(self.plan, preparing.maker)
        self.once = sum(self.load.setup[party] for party in preparing.begins)
        self._sessions: dict[str, _Session] = {}
        super().__init__("server", plan, settings, metrics, settings.dealer)
        if not self.limits.ever(self.once):
            log.warning(f"no client can {preparing.beginning}",
                        why=f"it has {self.once:.3g} megabytes, and ten seconds of megabytes, or of "
                        "client_megabytes, are less")  # fmt: skip

    def handle(self, channel: StreamChannel, name: str, letter: dict) -> None:
        channel.peer = "client"
        if name in (self.settings.server_name, self.settings.dealer_name):
            refuse(channel, f"'{name}' is no client's name")
        if letter["wants"] == "session":
            check_terms(channel, letter, self.terms)
            check_dealer(channel, letter, self.preparing.dealer)
            self._offline(channel, name)
        elif letter["wants"] == "online":
            self._online(channel, name, str(letter.get("session")))
        else:
            refuse(channel, f"nothing here is called {letter['wants']!r}")

    # --- the first connection: a session, and what is prepared in it -------------------------------------------------

    def _offline(self, client: StreamChannel, name: str) -> None:
        try:
            with self.limits.session(name, self.preparing.maker.kept_bytes / 1e6), self.metrics.session():
                s = self.settings
                shown = fingerprint_of(client.socket)
                session = _Session(new_session(), name, shown, prepared_pool("server", s.depth, s.state, s.disk))
                try:
                    self._prepare_all(client, session)
                finally:
                    self._end(session)
        except Refused as error:
            self.metrics.refused()
            tell(client, str(error), error.retry_after)

    def _prepare_all(self, client: StreamChannel, session: _Session) -> None:
        log.info("session", session=session.name, client=session.client)
        links: dict[str, StreamChannel] = {}
        try:
            links = self.preparing.meet(self.program, session.name, session.client, partial(self._draw, session))
            self._sessions[session.name] = session
            self._prepare_many(client, links, session)
        except (Refused, TurnedAway, CheckFailed):
            raise
        except PartyError as error:
            if session.over.wait(0.1):
                return  # it is the client that left
            tell(client, str(error))
            log.warning("no more is prepared", session=session.name, why=str(error))
            while len(session.pool) and self._rests(session):  # what is prepared needs nobody else
                session.over.wait(0.5)
        finally:
            for link in links.values():
                link.close()

    def _prepare_many(self, client: StreamChannel, links: dict[str, StreamChannel], session: _Session) -> None:
        s, maker = self.settings, self.preparing.maker
        together = maker.saves_together(self.plan)
        client.timeout = s.timeout
        client.send_letter(session=session.name, maker=maker.name, comparison=self.comparison, depth=s.depth,
                           batch=s.max_batch, at=s.advertise or "", checked=self.plan.checked,
                           **self.preparing.offer)  # fmt: skip
        party = Server(self.plan, self.weights, client=client, **links)
        half = maker.server(party, self.preparing.model)
        self.preparing.begin(half, client, partial(self._draw, session))
        self.metrics.sent("setup", client.bytes_sent)
        party.start_counting()  # chains of messages begin anew
        while self._next(client, session):
            letter = client.receive_letter(prepare=int)
            batch = letter["prepare"]
            self.check_refused(client, session.client, session.fingerprint)  # also by another process, or by hand
            self.check_batch(client, batch)
            wanted, first = letter.get("count"), half.inference + 1
            try:
                count = self._take(session, first, batch, wanted if together and type(wanted) is int else 1)
                count = self.preparing.announce(links, first, batch, count)
                self._release_from(session, first + count)
            except Refused as error:
                self._release_from(session, first)
                self.metrics.refused()
                client.send_fault(str(error), error.retry_after)
                continue
            for number in range(first, first + count):
                self.ledger.prepare(session.name, number, session.client)
            client.send_letter(number=first, count=count)
            start = time.monotonic()
            try:
                found = half.prepare_several(batch, count)
            except CheckFailed:
                self._failed(client, session, first)
                raise
            for prepared in found:
                session.pool.put(prepared)
                self.metrics.waiting(1)
            seconds, sent = time.monotonic() - start, party.count().total_bytes
            for _ in range(count):
                self.metrics.inference("offline", seconds / count, sent / count)

    def _draw(self, session: _Session) -> None:
        """Take what a session begins with.

        Raises:
            Refused: it would be too much now.
        """
        self.limits.traffic(session.client, self.once)

    def _take(self, session: _Session, first: int, batch: int, wanted: int) -> int:
        """How many inferences may be prepared at once: one at least, and no more than there is room for.

        Raises:
            Refused: none may.
        """
        room = self.settings.depth - len(session.pool)
        if room < 0:
            raise Refused(f"{len(session.pool)} prepared inferences wait, and {self.settings.depth} may", 1.0)
        count = max(min(wanted, room), 1)
        for number in range(first, first + count):
            try:
                self.limits.hold(session.client, batch)
                session.held[number] = batch
                self.limits.inference(session.client, batch, self.load.all(batch))
            except Refused:
                self._release(session, number)
                if number == first:
                    raise
                return number - first
        return count

    def _next(self, client: StreamChannel, session: _Session) -> bool:
        """Whether there is more to prepare."""
        while self._rests(session):
            if client.wait(0.5):
                return True
        if not session.over.is_set():
            tell(client, "the session rested too long" if self.gate.open else "the server closes")
            session.over.wait(self.settings.grace)  # what was asked is answered
        return False

    def _rests(self, session: _Session) -> bool:
        """Whether the session goes on, and has not rested too long."""
        rested = time.monotonic() - session.pool.used
        return self.gate.open and not session.over.is_set() and rested < self.settings.idle

    def _end(self, session: _Session) -> None:
        self._sessions.pop(session.name, None)
        session.over.set()
        self.metrics.waiting(-len(session.pool))
        session.pool.close()
        for number in list(session.held):
            self._release(session, number)
        self.ledger.burn(session.name)

    def _release_from(self, session: _Session, first: int) -> None:
        """Those that are not prepared after all."""
        for number in list(session.held):
            if number >= first:
                self._release(session, number)

    def _release(self, session: _Session, number: int) -> None:
        self.limits.release(session.client, session.held.pop(number, 0))

    # --- the second connection: answers ------------------------------------------------------------------------------

    def _online(self, client: StreamChannel, name: str, session: str) -> None:
        found = self._sessions.get(session)
        if found is None or found.client != name or not found.free.acquire(blocking=False):
            refuse(client, f"no session of '{name}' is open here by that name")
        client.send_letter()
        client.timeout = self.settings.timeout
        party = Server(self.plan, self.weights, client=client)
        try:
            while self._awaits(client, found):
                request = np.empty(1, np.int64)
                client.receive(REQUEST, request)
                self._answer(party, client, found, int(request[0]))
        except PeerLost as error:
            log.info("client left", session=session, why=str(error))
        finally:
            found.over.set()
            found.pool.wake()

    def _awaits(self, client: StreamChannel, session: _Session) -> bool:
        """Whether there is a request."""
        while not session.over.is_set() and self.gate.open:
            if client.wait(0.5):
                return True
        return client.wait(0.0)  # what was asked before it closed is answered

    def _answer(self, party: Server, client: StreamChannel, session: _Session, number: int) -> None:
        if self.plan.checked:
            self.check_refused(client, session.client, session.fingerprint)
        # Its client may have been told that it is ready a moment before it is put there.
        if not session.pool.has(number, time.monotonic() + 1.0):
            if session.over.is_set():
                raise PeerLost(f"it asked for inference {number} when the session was over")
            refuse(client, f"inference {number} is not prepared, or was used")
        self.metrics.waiting(-1)
        session.pool.used = time.monotonic()
        self.ledger.claim(session.name, number)  # before a byte of it goes out
        samples = session.held.pop(number, 0)  # which are held until it is answered, also if the session ends now
        try:
            start = time.monotonic()
            client.deadline = start + self.settings.timeout
            party.infer(session.pool.take(number))
        except BaseException as error:
            self.ledger.burn(session.name, number)
            self.metrics.failed()
            client.deadline = float("inf")  # it is told that it was too slow
            if isinstance(error, CheckFailed):
                self._failed(client, session, number)
            else:
                ours = "an error of the server's; its log has it"
                tell(client, str(error) if isinstance(error, PartyError) else ours)
            raise
        finally:
            self.limits.release(session.client, samples)
        client.deadline = float("inf")
        self.ledger.done(session.name, number)
        self.metrics.inference("online", time.monotonic() - start, party.count().total_bytes)

    # --- a client that deviates --------------------------------------------------------------------------------------

    def _failed(self, client: StreamChannel, session: _Session, number: int) -> None:
        """A check of the client's messages has failed: nothing more is answered, in its other sessions either."""
        failed = Failed(session.client, session.fingerprint, session.name, number)
        self.fail(failed)  # before it is told, so that it does not come back before
        for each in [*self._sessions.values()]:
            if each.client == session.client:
                each.over.set()
                each.pool.wake()
        tell(client, _FAILED)
        try:
            self.preparing.report(self.program, failed)
        except PartyError as error:
            log.warning("the dealer was not told who is refused", client=session.client, why=str(error))
