"""What dealer and server have in common: a gate, limits, a ledger, and an end that waits for what runs."""

from __future__ import annotations

import os

import structlog

from ..secure.link.stream import StreamChannel
from ..secure.link.tls import fingerprint_of
from ..secure.plan.plan import Plan
from .addresses import address_of
from .gate import Gate
from .greeting import asked, check_checked, check_program, name_in, name_of_program, refuse
from .ledger import Ledger
from .limits import Limits
from .locks import hold_place, let_go
from .metrics import Metrics
from .pool import remove_left
from .preparing import Failed
from .refusals import refusals_in
from .settings import Listening

log = structlog.get_logger()


class Service:
    """Listens as its settings say; each connection is a call of :meth:`handle`.

    Args:
        me: "dealer" or "server".
        plan: as it was published; a session's has one of the comparisons.
        peers: HOST:PORT of those whom the service connects to itself.

    Raises:
        PartyError: another process has the port, or is this service already; names it.
    """

    def __init__(self, me: str, plan: Plan, settings: Listening, metrics: Metrics, *peers: str | None):
        self.published, self.program = plan, name_of_program(plan)
        self.settings, self.metrics = settings, metrics
        self.limits = Limits.of(settings, plan.checked)
        self.identity = settings.identity(settings.listen, *peers)
        # The port first: a second process, started by mistake, shall not touch what the first one has prepared.
        self.gate = Gate(me, address_of(settings.listen), self.identity, settings.connections, settings.strangers,
                         self._handle)  # fmt: skip
        self._place = -1
        try:
            self.ledger, self.refused = self._open(me), refusals_in(settings.state)
        except BaseException:
            self.gate.close()
            raise
        if plan.checked and settings.state is None:
            log.warning("who is refused is forgotten when this process ends", why="it has no --state")

    def handle(self, channel: StreamChannel, name: str, letter: dict) -> None:
        """Do what the first letter of a connection asks for. name: whom its certificate names."""
        raise NotImplementedError

    def run(self) -> None:
        """Until :meth:`close`."""
        self.gate.run()

    def close(self) -> None:
        """Take no more, and end what runs."""
        self.gate.close(self.settings.grace)
        self.ledger.close()
        self.refused.close()
        let_go(self._place)

    def check_batch(self, channel: StreamChannel, batch: int) -> None:
        """Turn a peer away that asks for more samples than are allowed."""
        most = self.settings.max_batch
        if not 0 < batch <= most:
            refuse(channel, f"{batch} samples; 1 to {most} are allowed")

    def check_refused(self, channel: StreamChannel, name: str, fingerprint: str = "") -> None:
        """Turn a client away whose check has failed once, or a server that would serve it."""
        if self.refused.has(name, fingerprint):
            self.metrics.refused()
            refuse(channel, f"'{name}' is refused here, for a check of its messages has failed; whoever runs the "
                            f"{channel.me} can clear it")  # fmt: skip

    def fail(self, failed: Failed) -> None:
        """Refuse a client from now on, for a check of its messages has failed; what it was asked for is burned."""
        self.refused.add(*failed)
        self.ledger.spoil(failed.session, failed.number)
        self.metrics.check_failed()
        log.error("a check has failed, and its client is refused from now on", **failed._asdict())

    def _open(self, me: str) -> Ledger:
        """Its owner is who listens there, so that the process that is started again at an address burns what the last
        one left; a port of the system's choice is of this process alone."""
        s, owner = self.settings, f"{me} {self.settings.listen}"
        own = address_of(s.listen)[1] == 0
        if own:
            owner += f" {os.getpid()}"
        if s.state is None:
            return Ledger(None, owner)
        if not own:
            self._place = hold_place(s.state, owner)
        remove_left(s.state)
        ledger = Ledger(s.state / f"{me}.sqlite", owner)
        ledger.forget(s.keep_days)
        return ledger

    def _handle(self, channel: StreamChannel, name: str) -> None:
        letter = asked(channel, name)
        self.gate.welcome(channel)
        name = name or name_in(channel, letter, "name", "client")
        self.check_refused(channel, name, fingerprint_of(channel.socket))
        check_checked(channel, letter, self.published.checked)
        check_program(channel, letter, self.program)
        self.handle(channel, name, letter)
