"""The server as a service: a session for each client, its inferences prepared ahead, each answered once.

A session has two connections of its client, and one to the dealer. On the first one inferences are prepared, on the
second they are answered, so that neither waits for the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import structlog

from ..errors import PartyError, PeerLost, Refused
from ..secure.link import tls
from ..secure.link.message import REQUEST
from ..secure.link.stream import StreamChannel
from ..secure.makers.dealt.blinded_weights import BlindedWeights, digest
from ..secure.makers.dealt.server import ServerHalf
from ..secure.parties.server import Server
from ..secure.parties.weights import Weights
from ..secure.plan.plan import Plan
from .addresses import address_of
from .gate import PATIENCE
from .greeting import TurnedAway, ask_for, check_terms, new_session, refuse, tell
from .metrics import Metrics
from .pool import Pool, prepared_pool
from .service import Service
from .settings import Serve
from .traffic import Load

#: Seconds after which a dealer that was lost may be back.
_AGAIN = 1.0

log = structlog.get_logger()


@dataclass
class _Session:
    """What the two threads of a session share."""

    name: str
    client: str
    pool: Pool
    free: threading.Lock = field(default_factory=threading.Lock)  # until its second connection comes
    over: threading.Event = field(default_factory=threading.Event)
    held: dict[int, int] = field(default_factory=dict)  # samples of what is prepared, by number


class ServerService(Service):
    """Serves one program.

    Args:
        plan: as it was published.
        comparison: which of "fss" and "gmw" is used; clients and dealer are told.
        weights: of the program; ``model``: the same under the seed of ``A`` that was published.
        terms: what its clients must have alike (published.py).
    """

    def __init__(
        self,
        plan: Plan,
        comparison: str,
        weights: Weights,
        model: BlindedWeights,
        settings: Serve,
        metrics: Metrics,
        terms: Mapping[str, str],
    ):
        self.plan, self.comparison, self.terms = plan.with_comparison(comparison), comparison, terms
        self.weights, self.model = weights, model
        if settings.advertise:
            address_of(settings.advertise)  # before a client is told
        self.load, self.blinded = Load(self.plan), digest(model.blinded())
        self._sessions: dict[str, _Session] = {}
        super().__init__("server", plan, settings, metrics, settings.dealer)
        if not self.limits.ever(self.load.once):
            log.warning("no client can fetch what blinds the weights",
                        why=f"it has {self.load.once:.3g} megabytes, and ten seconds of megabytes, or of "
                        "client_megabytes, are less")  # fmt: skip

    def handle(self, channel: StreamChannel, name: str, letter: dict) -> None:
        channel.peer = "client"
        if name in (self.settings.server_name, self.settings.dealer_name):
            refuse(channel, f"'{name}' is no client's name")
        if letter["wants"] == "session":
            check_terms(channel, letter, self.terms)
            self._offline(channel, name)
        elif letter["wants"] == "online":
            self._online(channel, name, str(letter.get("session")))
        else:
            refuse(channel, f"nothing here is called {letter['wants']!r}")

    # --- the first connection: a session, and what is prepared in it -------------------------------------------------

    def _offline(self, client: StreamChannel, name: str) -> None:
        try:
            with self.limits.session(name), self.metrics.session():
                s = self.settings
                session = _Session(new_session(), name, prepared_pool("server", s.depth, s.state, s.disk))
                try:
                    self._prepare_all(client, session)
                finally:
                    self._end(session)
        except Refused as error:
            self.metrics.refused()
            tell(client, str(error), error.retry_after)

    def _prepare_all(self, client: StreamChannel, session: _Session) -> None:
        log.info("session", session=session.name, client=session.client)
        dealer = None
        try:
            dealer = self._meet_dealer(session)
            self._sessions[session.name] = session
            self._prepare_many(client, dealer, session)
        except (Refused, TurnedAway):
            raise
        except PartyError as error:
            if session.over.wait(0.1):
                return  # it is the client that left
            tell(client, str(error))
            log.warning("no more is prepared", session=session.name, why=str(error))
            while len(session.pool) and self._rests(session):  # what is prepared needs no dealer
                session.over.wait(0.5)
        finally:
            if dealer is not None:
                dealer.close()

    def _meet_dealer(self, session: _Session) -> StreamChannel:
        """Raises:
        Refused: there is none just now, or it refuses.
        """
        s = self.settings
        try:
            connection = tls.connect(address_of(s.dealer), self.identity, s.dealer_name, PATIENCE)
            dealer = StreamChannel(connection, "server", "dealer", timeout=s.timeout)
            ask_for(dealer, "session", self.program, session=session.name, client=session.client, name=s.server_name,
                    comparison=self.comparison)  # fmt: skip
            dealer.receive_letter()
        except PeerLost as error:
            raise Refused(str(error), _AGAIN) from error
        return dealer

    def _prepare_many(self, client: StreamChannel, dealer: StreamChannel, session: _Session) -> None:
        s = self.settings
        client.timeout = s.timeout
        client.send_letter(session=session.name, comparison=self.comparison, depth=s.depth, batch=s.max_batch,
                           weights=self.blinded, at=s.advertise or "")  # fmt: skip
        party = Server(self.plan, self.weights, client=client, dealer=dealer)
        half = ServerHalf(party, self.model)
        half.share_seeds()
        if client.receive_letter(weights=bool)["weights"]:
            self.limits.traffic(session.client, self.load.once)
            half.send_weights()
            self.metrics.sent("setup", client.bytes_sent)
        while self._next(client, session):
            batch = client.receive_letter(prepare=int)["prepare"]
            self.check_batch(client, batch)
            number = half.inference + 1
            try:
                if len(session.pool) > s.depth:
                    raise Refused(f"{len(session.pool)} prepared inferences wait, and {s.depth} may", 1.0)
                self.limits.hold(session.client, batch)
                session.held[number] = batch
                self.limits.inference(session.client, batch, self.load.all(batch))
                dealer.send_letter(prepare=number, batch=batch)
                dealer.receive_letter()
            except Refused as error:
                self._release(session, number)
                self.metrics.refused()
                client.send_fault(str(error), error.retry_after)
                continue
            self.ledger.prepare(session.name, number, session.client)
            client.send_letter(number=number)
            start = time.monotonic()
            session.pool.put(half.prepare(batch))
            self.metrics.waiting(1)
            self.metrics.inference("offline", time.monotonic() - start, party.count().total_bytes)

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
            tell(client, str(error) if isinstance(error, PartyError) else "an error of the server's; its log has it")
            raise
        finally:
            self.limits.release(session.client, samples)
        client.deadline = float("inf")
        self.ledger.done(session.name, number)
        self.metrics.inference("online", time.monotonic() - start, party.count().total_bytes)
