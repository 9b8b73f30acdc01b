"""The dealer as a service: pairs a server and its client by their session, and deals what the server asks for."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field

import structlog

from ..errors import PartyError, PeerLost, Refused
from ..secure.link.stream import StreamChannel
from ..secure.makers.dealt.dealer import Dealer
from ..secure.makers.table import DEALT
from ..secure.parties.party import Party
from ..secure.plan.plan import Plan
from .gate import PATIENCE
from .greeting import name_in, name_of_program, names_certificate, names_session, refuse, tell
from .metrics import Metrics
from .preparing import Failed
from .ray_dealing import Cluster, dealt
from .service import Service
from .settings import Deal
from .traffic import Load

#: Seconds after which a session looks whether its server is still there: until its client comes, and from then on.
_LOOK, _WATCH = 0.05, 1.0

log = structlog.get_logger()


@dataclass
class _Meeting:
    """A session whose client is awaited."""

    client: str
    server: StreamChannel
    came: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    channel: StreamChannel | None = None


class DealerService(Service):
    """Deals for the server that its certificate names, and for the clients that the server names."""

    def __init__(self, plan: Plan, settings: Deal, metrics: Metrics):
        self._plans: dict[str, tuple[Plan, str, Load]] = {}
        self._meetings: dict[str, _Meeting] = {}
        self._lock = threading.Lock()
        super().__init__("dealer", plan, settings, metrics)
        self._cluster = None if settings.ray is None else Cluster(settings.ray)

    def handle(self, channel: StreamChannel, name: str, letter: dict) -> None:
        session = letter.get("session")
        channel.peer = "server" if name == self.settings.server_name else "client"
        wanted = ("session", "failed") if channel.peer == "server" else ("session",)
        if letter["wants"] not in wanted or not names_session(session):
            refuse(channel, "a dealer takes part in sessions, and this names none")
        if channel.peer == "server":
            client = name_in(channel, letter, "client")
            if letter["wants"] == "failed":
                self._report(channel, session, client, letter)
                return
            self.check_refused(channel, client)
            if letter.get("comparison") not in DEALT.comparisons_of(self.published):
                refuse(channel, "there is no such comparison")
            self._serve(channel, session, client, letter["comparison"])
        else:
            self._meet(channel, session, name)

    def _meet(self, channel: StreamChannel, session: str, name: str) -> None:
        """A client comes to its session, and its connection is used there until that is over. This thread sees to it
        that it is when the server has left, whatever the client does or does not do."""
        with self._lock:
            meeting = self._meetings.get(session)
            awaited = meeting is not None and meeting.client == name and meeting.channel is None
            if awaited:
                meeting.channel = channel
        if not awaited:
            refuse(channel, f"no session of '{name}' is open here by that name")
        meeting.came.set()
        while not meeting.left.is_set():
            if meeting.server.gone(_WATCH):
                _hang_up(channel)
                meeting.left.wait()

    def _report(self, server: StreamChannel, session: str, client: str, letter: dict) -> None:
        """A server says that a check of a client has failed: it is refused here, too, by whatever server it comes."""
        number, fingerprint = letter.get("number"), letter.get("fingerprint")
        if type(number) is not int or not 0 <= number < 2**63 or not names_certificate(fingerprint):
            refuse(server, "a check that failed is one of an inference and of a certificate")
        self.fail(Failed(client, fingerprint, session, number))
        with self._lock:
            for meeting in self._meetings.values():
                if meeting.client == client and meeting.channel is not None:
                    _hang_up(meeting.channel)
        server.send_letter()

    def _serve(self, server: StreamChannel, session: str, name: str, comparison: str) -> None:
        meeting = _Meeting(name, server)
        try:
            with self.limits.session(name):
                with self._lock:
                    if session in self._meetings:
                        refuse(server, "there is a session of that name")
                    self._meetings[session] = meeting
                server.send_letter()
                if not self._comes(meeting):
                    log.info("session given up", session=session, client=name)
                    return
                with self.metrics.session():
                    log.info("session", session=session, client=name)
                    self._deal(server, meeting.channel, session, name, comparison)
        except Refused as error:
            self.metrics.refused()
            tell(server, str(error), error.retry_after)
        except PeerLost as error:
            # Client and server leave whenever they like, in the middle of what is made for later, too.
            tell(server, str(error))
            log.info("session over", session=session, client=name, why=str(error))
        except PartyError as error:
            tell(server, str(error))
            raise
        finally:
            self._meetings.pop(session, None)
            self.ledger.burn(session)
            meeting.left.set()

    def _comes(self, meeting: _Meeting) -> bool:
        """Wait for a client; False if its server does not, so that nobody holds places by sessions that are over."""
        until = time.monotonic() + PATIENCE
        while not meeting.came.wait(_LOOK):
            if meeting.server.gone():
                return False
            if time.monotonic() > until:
                refuse(meeting.server, f"'{meeting.client}' did not come to its session")
        return True

    def _deal(self, server: StreamChannel, client: StreamChannel, session: str, name: str, comparison: str) -> None:
        client.send_letter()
        plan, name_of_plan, load = self._plan(comparison)
        party = Party("dealer", plan, client=client, server=server)
        dealer = Dealer(party)
        model = dealer.receive_seeds()
        make = dealt if self._cluster is None else self._cluster.deal
        for channel in (server, client):
            channel.timeout = self.settings.timeout
        while self._next(server, client):
            letter = server.receive_letter(prepare=int, batch=int)
            first, batch, wanted = letter["prepare"], letter["batch"], letter.get("count", 1)
            self.check_batch(server, batch)
            if first != dealer.inference + 1:  # one that came twice would mean the same masks
                refuse(server, f"inference {first} is asked for where {dealer.inference + 1} belongs")
            if type(wanted) is not int or wanted < 1:
                refuse(server, "so many inferences are none")
            try:
                with contextlib.ExitStack() as held:
                    count = self._take(held, name, batch, wanted, load)
                    numbers = range(first, first + count)
                    for number in numbers:
                        self.ledger.prepare(session, number, name)
                        self.ledger.claim(session, number)
                    server.send_letter(count=count)
                    for number in numbers:
                        start = time.monotonic()
                        dealer.send(make(plan, name_of_plan, model, dealer.seeds, number, batch))
                        self.ledger.done(session, number)
                        took, sent = time.monotonic() - start, party.count().total_bytes
                        self.metrics.inference("offline", took, sent)
            except Refused as error:
                self.metrics.refused()
                server.send_fault(str(error), error.retry_after)

    def _take(self, held: contextlib.ExitStack, name: str, batch: int, wanted: int, load: Load) -> int:
        """How many inferences may be dealt at once: one at least, and no more than there is room for.

        Raises:
            Refused: none may.
        """
        for count in range(wanted):
            try:
                held.enter_context(self.limits.holding(name, batch))
                self.limits.inference(name, batch, load.offline("dealer", batch))
            except Refused:
                if not count:
                    raise
                return count
        return wanted

    def _next(self, server: StreamChannel, client: StreamChannel) -> bool:
        """Whether there is more to do."""
        until = time.monotonic() + self.settings.idle
        while self.gate.open and time.monotonic() < until:
            if client.wait(0.0):  # it says nothing more
                tell(server, "the client has left")
                return False
            if server.wait(1.0):
                return True
        tell(server, "the dealer closes" if not self.gate.open else "the session rested too long")
        return False

    def _plan(self, comparison: str) -> tuple[Plan, str, Load]:
        """A session's plan, its name, and what it puts on the links."""
        with self._lock:
            if comparison not in self._plans:
                plan = self.published.with_comparison(comparison)
                self._plans[comparison] = plan, name_of_program(plan), Load(plan, DEALT)
            return self._plans[comparison]

    def close(self) -> None:
        super().close()
        if self._cluster is not None:
            self._cluster.close()


def _hang_up(channel: StreamChannel) -> None:
    """Who sends there or waits for it does so no more."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(channel.socket, socket.SHUT_RDWR)
