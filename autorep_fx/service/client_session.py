"""A client's session: three connections, and a thread that prepares inferences ahead of their inputs."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..errors import PartyError, PeerLost, Refused
from ..secure.link.message import HEADER_BYTES, REQUEST
from ..secure.link.stream import StreamChannel
from ..secure.link.tls import Identity, connect
from ..secure.makers.dealt.blinded_weights import digest, empty_blinded
from ..secure.makers.dealt.client import ClientHalf
from ..secure.parties.client import Client as Party
from ..secure.plan.plan import COMPARISONS, Plan
from ..secure.result import Phase, Stats
from .addresses import address_of, redirected
from .greeting import ask_for, names_session, new_session
from .ledger import Ledger
from .pool import check_store, prepared_pool

#: Seconds after which the thread that prepares looks again at what was refused.
_LOOK = 0.1

_DIGEST = re.compile("[0-9a-f]{64}")

#: Bytes of a request, which the plan's cost does not have.
_REQUEST = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """See :func:`autorep_fx.connect`."""

    server: str
    dealer: str
    identity: Identity | None
    name: str = "client"
    depth: int = 1
    batch: int = 1
    timeout: float = 30.0
    threads: int = 1
    state: str | os.PathLike | None = None
    disk: bool = False
    cache: str | os.PathLike | None = None
    server_name: str = "server"
    dealer_name: str = "dealer"
    plain: bool = False

    def __post_init__(self):
        for name, least in (("depth", 0), ("batch", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        if not 0 < self.timeout < 1e9:
            raise ValueError(f"timeout must be above 0 and below 1e9, got {self.timeout!r}")
        check_store(self.state, self.disk)
        for address in (self.server, self.dealer):
            address_of(address)


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
        self._wanted: list[int] = []
        self._refused: dict[int, tuple[Refused, float]] = {}  # by batch: and until when
        s = options
        start = time.monotonic()
        try:
            self._offline = self._channel("server", s.server, s.server_name, until)
            ask_for(self._offline, "session", program, name=s.name, **terms)
            said = self._offline.receive_letter(session=str, comparison=str, depth=int, batch=int, weights=str,
                                               at=str)  # fmt: skip
            _check_offer(said)
            self.name, self.depth, self.largest = said["session"], min(s.depth, said["depth"]), said["batch"]
            # A balancer might send it to another replica, which does not know the session.
            at = redirected(said["at"], s.identity, s.plain) if said["at"] else s.server
            chosen = plan.with_comparison(said["comparison"])
            online = self._channel("server", at, s.server_name, until)
            ask_for(online, "online", program, name=s.name, session=self.name)
            online.receive_letter()
            dealer = self._channel("dealer", s.dealer, s.dealer_name, until)
            ask_for(dealer, "session", program, name=s.name, session=self.name)
            dealer.receive_letter()
            self._preparing = ClientHalf(Party(chosen, server=self._offline, dealer=dealer))
            self._preparing.share_seeds()
            self._preparing.take_weights(self._weights(said["weights"]))
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
            output = self._answering.infer(prepared, values)
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

    def waiting(self) -> int:
        """How many are prepared for batches of the usual size."""
        return self.pool.count(self.options.batch)

    def close(self) -> None:
        self._over.set()
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

    def _weights(self, wanted: str) -> list[np.ndarray]:
        """What the server sends once per model: from the cache, or from the server."""
        path = None if self.options.cache is None else Path(self.options.cache) / f"{wanted}.safetensors"
        if path is not None and path.exists():
            if (cached := self._cached(path, wanted)) is not None:
                self._offline.send_letter(weights=False)
                return cached
            log.warning("%s is damaged, and is fetched again", path)
        self._offline.send_letter(weights=True)
        blinded = list(self._preparing.receive_weights())
        if digest(blinded) != wanted:
            raise PartyError("client: the server sent other weights than it said")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{new_session()}.partial")
            partial.write_bytes(save({str(i): array for i, array in enumerate(blinded)}))
            os.replace(partial, path)
        return blinded

    def _cached(self, path: Path, wanted: str) -> list[np.ndarray] | None:
        """What a file has; None if that is not what the server says, of the shapes and types that the plan says."""
        try:
            found = load_file(path)
            blinded = [found[str(i)] for i in range(len(found))]
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):  # a type that NumPy does not have: the last
            return None
        belong = [(array.dtype, array.shape) for array in empty_blinded(self._preparing.party.plan)]
        fits = [(array.dtype, array.shape) for array in blinded] == belong
        return blinded if fits and digest(blinded) == wanted else None

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
        usual = [self.options.batch] if self.waiting() < self.depth and not self._busy else []
        now = time.monotonic()
        return next((b for b in (*self._wanted, *usual) if self._refused.get(b, (None, 0.0))[1] <= now), None)

    def _want_no_more(self, batch: int) -> None:
        with contextlib.suppress(ValueError):
            self._wanted.remove(batch)

    def _prepare(self, batch: int) -> None:
        half, start = self._preparing, time.monotonic()
        try:
            self._offline.send_letter(prepare=batch)
            number = self._offline.receive_letter(number=int)["number"]
        except Refused as refusal:
            self._refused[batch] = refusal, time.monotonic() + refusal.retry_after
            return
        # Counted here, whatever the server says: a number that came twice would mean the same masks.
        if number != half.inference + 1:
            raise PartyError(f"client: the server numbers an inference {number} where {half.inference + 1} belongs")
        self._refused.pop(batch, None)
        self._want_no_more(batch)
        self.ledger.prepare(self.name, number, self.options.name)
        prepared = half.prepare(batch)
        self._offline_costs[number] = _phase(time.monotonic() - start, half.party)
        self.pool.put(prepared)


def _check_offer(said: dict[str, Any]) -> None:
    """What a server says of a session. Its name goes to the dealer and into the ledger, its digest names a file.

    Raises:
        PartyError: it cannot be.
    """
    if said["comparison"] not in COMPARISONS or not _DIGEST.fullmatch(said["weights"]):
        raise PartyError("client: the server names a comparison or a digest that there is none of")
    if not names_session(said["session"]):
        raise PartyError("client: the server gives a session a name that is none")
    if said["depth"] < 0 or said["batch"] < 1:
        raise PartyError(f"client: the server offers {said['depth']} prepared inferences of {said['batch']} samples")


def _phase(seconds: float, party: Party, request: int = 0) -> Phase:
    """What the party counted, and a request before it that has so many bytes."""
    count = party.count()
    sent = count.total_bytes + (request and request + HEADER_BYTES)
    return Phase(seconds, count.depth, {"client": sent}, {"client": count.message_bytes + request})
