"""A client's session: connections to the server and its dealer, and a thread that prepares inferences ahead of their
inputs."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import numpy as np

from ..errors import PartyError, PeerLost, Refused
from ..secure.correlations.prepared import Prepared
from ..secure.link.message import HEADER_BYTES, REQUEST
from ..secure.link.stream import StreamChannel
from ..secure.link.tls import connect
from ..secure.makers.maker import Maker
from ..secure.makers.table import DEALT, MAKERS
from ..secure.parties.client import Client as Party
from ..secure.plan.plan import Plan
from ..secure.result import Phase, Stats
from .addresses import address_of, redirected
from .greeting import ask_for, names_session, one_checked, one_without_dealer
from .ledger import Ledger
from .options import Options
from .pool import prepared_pool
from .table import at_client

#: Seconds after which the thread that prepares looks again at what was refused.
_LOOK = 0.1

#: Seconds that what is being prepared for a checked program has to end, where something went wrong.
_MOMENT = 2.0

#: Bytes of a request, which the plan's cost does not have.
_REQUEST = 8

log = logging.getLogger(__name__)


class ClientSession:
    """One session.

    Args:
        plan, program: as it was published, and what it is called; terms: what else the server must have (published.py).
        until: when opening it gives up, of ``time.monotonic``.

    Attributes:
        torn: a run was left in the middle, so there cannot be another one.
    """

    def __init__(self, plan: Plan, program: str, terms: dict[str, str], options: Options, ledger: Ledger, until: float):
        self.options, self.ledger = options, ledger
        self._channels: list[StreamChannel] = []
        self.torn = self._busy = False
        self._runs = ThreadPoolExecutor(1) if plan.checked else None
        self._wanted: list[int] = []
        self._refused: dict[int, tuple[Refused, float]] = {}  # by batch: and until when
        s, preparing = options, at_client(options.dealer is not None)(options, plan.checked)
        start = time.monotonic()
        try:
            self._offline = self._channel("server", s.server, s.server_name, until)
            ask_for(self._offline, "session", program, name=s.name, dealer=s.dealer is not None, checked=plan.checked,
                    **terms)  # fmt: skip
            said = self._offline.receive_letter(session=str, comparison=str, depth=int, batch=int, at=str,
                                               **preparing.offered)  # fmt: skip
            self._maker = _maker_of(said, s.dealer is not None)
            self._together = self._maker.saves_together(plan)
            _check_offer(said, self._maker.comparisons_of(plan), plan.checked)
            preparing.check(said)
            self.name, self.depth, self.largest = said["session"], min(s.depth, said["depth"]), said["batch"]
            # A balancer might send it to another replica, which does not know the session.
            at = redirected(said["at"], s.identity, s.plain) if said["at"] else s.server
            chosen = plan.with_comparison(said["comparison"])
            online = self._channel("server", at, s.server_name, until)
            ask_for(online, "online", program, name=s.name, session=self.name, checked=plan.checked)
            online.receive_letter()
            links = preparing.meet(partial(self._channel, until=until), program, self.name)
            party = Party(chosen, server=self._offline, **links)
            self._preparing = self._maker.client(party)
            preparing.begin(self._preparing, self._offline, said)
            party.start_counting()  # chains of messages begin anew
            self._answering = Party(chosen, server=online)
            self._online = online
            for channel in self._channels:
                channel.timeout, channel.deadline = s.timeout, float("inf")
            self.pool = prepared_pool("client", self.depth, s.state, s.disk)
        except BaseException:
            for channel in self._channels:
                channel.close()
            raise
        self.setup = Phase(seconds=time.monotonic() - start)
        self._over = threading.Event()
        self._offline_costs: dict[int, Phase] = {}
        self._thread = threading.Thread(target=self._prepare_all, daemon=True)
        self._thread.start()

    def run(self, values: np.ndarray, until: float) -> tuple[np.ndarray, Stats]:
        self._busy = True
        try:
            return self._answer(values, until)
        finally:
            self._busy = False
            self._refused.clear()  # one is used, so another one may be allowed
            self.pool.wake()

    def _answer(self, values: np.ndarray, until: float) -> tuple[np.ndarray, Stats]:
        batch = len(values)
        if batch > self.largest:
            raise ValueError(f"x: {batch} samples, and the server takes 1 to {self.largest} at once; ask in parts")
        number = self.pool.next(batch, 0.0)
        if number is None:
            number = self._awaited(batch, until)
        self.torn = True
        self.ledger.claim(self.name, number)  # before a byte of it goes out
        try:
            prepared = self.pool.take(number)
            self._online.deadline = until
            start = time.monotonic()
            self._online.send(REQUEST, np.array([number], np.int64))
            output = self._infer(prepared, values)
            seconds = time.monotonic() - start
        except BaseException:
            self.ledger.burn(self.name, number)
            raise
        self.torn = False
        self.ledger.done(self.name, number)
        self._online.deadline = float("inf")
        offline = self._offline_costs.pop(number, Phase())
        online = _phase(seconds, self._answering, _REQUEST)
        return output, Stats(online=online, offline=offline, setup=self.setup, counted="messages")

    def _infer(self, prepared: Prepared, values: np.ndarray) -> np.ndarray:
        """Of a checked program an interruption waits for the answer: who leaves behind a challenge is taken for one
        that would not answer it."""
        if self._runs is None:
            return self._answering.infer(prepared, values)
        running = self._runs.submit(self._answering.infer, prepared, values)
        try:
            return running.result()
        finally:
            wait([running])

    def waiting(self) -> int:
        """How many are prepared for batches of the usual size."""
        return self.pool.count(self.options.batch)

    def missing(self) -> int:
        """How many more of the usual size are to be prepared: what is used; but none before half is, where inferences
        that are prepared at once cost less."""
        waiting = self.waiting()
        if self._together and 2 * waiting > self.depth:
            return 0
        return max(self.depth - waiting, 0)

    def close(self, patience: float = _MOMENT) -> None:
        """Hang up; of a checked program only once what is being prepared is, if that takes no longer than this, or the
        server waits for an answer about it."""
        self._over.set()
        if self._runs is not None:
            self.pool.wake()
            self._thread.join(patience)
            if self._preparing.asked:
                self._thread.join(self.options.timeout)
            self._runs.shutdown(wait=False)
        for channel in self._channels:
            channel.close()
        self.pool.close()
        self._thread.join(self.options.timeout)
        self.ledger.burn(self.name)

    def _awaited(self, batch: int, until: float) -> int:
        """The number of one that is prepared for this run.

        Raises:
            Refused: it would not be in time.
            PartyError: it was not in time.
        """
        self._wanted.append(batch)
        start = time.monotonic()
        try:
            while time.monotonic() < until:
                self.pool.wake()
                number = self.pool.next(batch, min(until, time.monotonic() + 0.2))
                if number is not None:
                    return number
                refusal, later = self._refused.get(batch, (None, 0.0))
                if refusal is not None and later > until:
                    raise refusal
            # What comes too late for it would wait for ever, if no other run is of this size.
            self.torn = batch != self.options.batch
            raise PartyError(f"client: no inference was prepared within {time.monotonic() - start:.1f} s")
        finally:
            self._want_no_more(batch)

    def _channel(self, peer: str, address: str, expected: str, until: float) -> StreamChannel:
        left = max(until - time.monotonic(), 0.001)
        connection = connect(address_of(address), self.options.identity, expected, left)
        channel = StreamChannel(connection, "client", peer, timeout=self.options.timeout)
        channel.deadline = until
        self._channels.append(channel)
        return channel

    # --- the thread that prepares ------------------------------------------------------------------------------------

    def _prepare_all(self) -> None:
        try:
            while not self._over.is_set():
                if (batch := self._next()) is not None:
                    self._prepare(batch)
                else:
                    self.pool.wait_for_work(lambda: self._over.is_set() or self._next() is not None, _LOOK)
        except PartyError as error:
            self.pool.stop(PeerLost(str(error)))  # a new session may do better
        except Exception as error:  # noqa: BLE001  (whoever waits for this thread must learn of it)
            log.exception("preparing failed")
            self.pool.stop(PartyError(f"client: preparing failed: {error}"))

    def _next(self) -> int | None:
        """Samples of what is to be prepared now: first what a run waits for. While one is being answered it has the
        machines and the links for itself."""
        usual = [self.options.batch] if self.missing() and not self._busy else []
        now = time.monotonic()
        return next((b for b in (*self._wanted, *usual) if self._refused.get(b, (None, 0.0))[1] <= now), None)

    def _want_no_more(self, batch: int) -> None:
        with contextlib.suppress(ValueError):
            self._wanted.remove(batch)

    def _prepare(self, batch: int) -> None:
        half, start = self._preparing, time.monotonic()
        # A run that waits is not made to wait for others, unless they cost next to nothing beside it.
        several = self._maker.together or self._together and batch not in self._wanted
        most = self.missing() if several and batch == self.options.batch else 1
        try:
            self._offline.send_letter(prepare=batch, count=max(most, 1))
            said = self._offline.receive_letter(number=int)
        except Refused as refusal:
            self._refused[batch] = refusal, time.monotonic() + refusal.retry_after
            return
        # Counted here, whatever the server says: a number that came twice would mean the same masks.
        first, count = said["number"], said.get("count", 1)
        if first != half.inference + 1:
            raise PartyError(f"client: the server numbers an inference {first} where {half.inference + 1} belongs")
        if type(count) is not int or not 0 < count <= max(most, 1):
            raise PartyError(f"client: the server prepares other than 1 to {max(most, 1)} inferences at once")
        self._refused.pop(batch, None)
        self._want_no_more(batch)
        for number in range(first, first + count):
            self.ledger.prepare(self.name, number, self.options.name)
        found = half.prepare_several(batch, count)
        cost = _phase(time.monotonic() - start, half.party, parts=count)
        for prepared in found:
            self._offline_costs[prepared.inference] = cost
            self.pool.put(prepared)


def _maker_of(said: dict[str, Any], dealer: bool) -> Maker:
    """The one that a server names; a version that names none has a dealer.

    Raises:
        PartyError: there is none of that name, or only one of the two has a dealer.
    """
    maker = MAKERS.get(str(said.get("maker", DEALT.name)))
    if maker is None:
        raise PartyError("client: the server names a maker of correlations that there is none of here")
    if (theirs := bool(maker.helpers)) != dealer:
        raise PartyError(f"client: {one_without_dealer(theirs, dealer)}")
    return maker


def _check_offer(said: dict[str, Any], comparisons: tuple[str, ...], checked: bool) -> None:
    """What a server says of a session. Its name goes into the ledger, and to those who take part.

    Raises:
        PartyError: it cannot be.
    """
    if (said.get("checked", False) is True) != checked:
        raise PartyError(f"client: {one_checked(checked)}")
    if said["comparison"] not in comparisons:
        raise PartyError("client: the server names a comparison that there is none of")
    if not names_session(said["session"]):
        raise PartyError("client: the server gives a session a name that is none")
    if said["depth"] < 0 or said["batch"] < 1:
        raise PartyError(f"client: the server offers {said['depth']} prepared inferences of {said['batch']} samples")


def _phase(seconds: float, party: Party, request: int = 0, parts: int = 1) -> Phase:
    """What the party counted, and a request before it that has so many bytes; a part of that, of so many inferences."""
    count = party.count()
    sent = count.total_bytes + (request and request + HEADER_BYTES)
    said = count.message_bytes + request
    return Phase(seconds / parts, count.depth, {"client": sent // parts}, {"client": said // parts})
