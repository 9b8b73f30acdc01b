"""What one client, and all of them, may ask for; what is beyond is refused at once, with a time to come back."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from ..errors import Refused
from .settings import Listening

#: Seconds after which a place that is taken now may be free; one that the same client has.
_SOON, _SOONER = 5.0, 1.0

#: Seconds within which what a client has just been answered is given back.
_A_MOMENT = 0.2

#: Clients that are remembered before those are forgotten who have not asked for long: they have what a new one has.
_MANY = 10_000


class Bucket:
    """So much a second, and what was not used of it up to a burst."""

    def __init__(self, rate: float, burst: float):
        self.rate, self.burst = rate, burst
        self._left, self._at = burst, time.monotonic()

    def wait(self, amount: float) -> float:
        """Seconds until there is so much; infinite for more than there ever is."""
        now = time.monotonic()
        self._left, self._at = min(self.burst, self._left + self.rate * (now - self._at)), now
        if amount > self.burst:
            return float("inf")
        return max(amount - self._left, 0.0) / self.rate

    def take(self, amount: float) -> None:
        self._left -= amount

    def full(self) -> bool:
        return self.wait(self.burst) == 0


class Limits:
    """Of a server or a dealer.

    Args:
        sessions, client_sessions: at once, of all clients and of one.
        rate, client_rate: inferences a second; each may come in a burst of ten seconds' worth.
        megabytes, client_megabytes: a second, offline, online and once a model together; the same.
        held, client_held: samples whose correlations lie here at once. An inference is prepared while there are fewer,
            so one of many samples may go beyond.
        kept: megabytes that open sessions may keep from one inference to the next.
    """

    def __init__(self, *, sessions: int, client_sessions: int, rate: float, client_rate: float, megabytes: float,
                 client_megabytes: float, held: int, client_held: int, kept: float):  # fmt: skip
        self.sessions, self.client_sessions = sessions, client_sessions
        self.held, self.client_held, self.kept = held, client_held, kept
        self._rates = {"inferences": (rate, client_rate), "megabytes": (megabytes, client_megabytes)}
        self._open: dict[str, int] = defaultdict(int)
        self._held: dict[str, int] = defaultdict(int)
        self._kept = 0.0
        self._all = {what: Bucket(each, 10 * each) for what, (each, _) in self._rates.items()}
        self._of: dict[str, dict[str, Bucket]] = {}
        self._lock, self._many = threading.Condition(), _MANY

    @classmethod
    def of(cls, settings: Listening, checked: bool = False) -> Self:
        """checked: whether the messages of clients are: how likely errors pass grows with a client's sessions."""
        each = min(settings.client_sessions, settings.client_checked) if checked else settings.client_sessions
        return cls(sessions=settings.sessions, client_sessions=each, rate=settings.rate,
                   client_rate=settings.client_rate, megabytes=settings.megabytes,
                   client_megabytes=settings.client_megabytes, held=settings.held,
                   client_held=settings.client_held, kept=settings.kept)  # fmt: skip

    @contextmanager
    def session(self, client: str, kept: float = 0.0) -> Iterator[None]:
        """A place for a session that keeps so many megabytes while it is open.

        Raises:
            Refused: there is none.
        """
        with self._lock:
            if self._open[client] >= self.client_sessions:
                raise Refused(f"'{client}' has {self.client_sessions} sessions, and may not have more", _SOON)
            if sum(self._open.values()) >= self.sessions:
                raise Refused(f"all {self.sessions} sessions are taken", _SOON)
            if kept and self._kept + kept > self.kept:
                raise Refused(f"open sessions keep {self._kept:.0f} megabytes, and {self.kept:g} may be kept", _SOON)
            self._open[client] += 1
            self._kept += kept
        try:
            yield
        finally:
            with self._lock:
                self._kept -= kept
                self._open[client] -= 1
                if not self._open[client]:
                    del self._open[client]

    def hold(self, client: str, samples: int) -> None:
        """Count the correlations of so many samples, until :meth:`release`.

        Raises:
            Refused: there are as many as there may be.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._too_many(client) is None, _A_MOMENT)
            if (refusal := self._too_many(client)) is not None:
                raise refusal
            self._held[client] += samples

    @contextmanager
    def holding(self, client: str, samples: int) -> Iterator[None]:
        """As :meth:`hold`, until it ends."""
        self.hold(client, samples)
        try:
            yield
        finally:
            self.release(client, samples)

    def release(self, client: str, samples: int) -> None:
        with self._lock:
            self._held[client] -= samples
            if not self._held[client]:
                del self._held[client]
            self._lock.notify_all()

    def _too_many(self, client: str) -> Refused | None:
        if (mine := self._held.get(client, 0)) >= self.client_held:
            why = f"correlations of {mine} samples wait for '{client}', and {self.client_held} may"
            return Refused(why, _SOONER)
        if (of_all := sum(self._held.values())) >= self.held:
            return Refused(f"correlations of {of_all} samples wait for all clients, and {self.held} may", _SOON)
        return None

    def inference(self, client: str, samples: int, megabytes: float) -> None:
        """Take what an inference takes of the rates.

        Raises:
            Refused: it would be too much now.
        """
        self._take(client, {"inferences": float(samples), "megabytes": megabytes})

    def traffic(self, client: str, megabytes: float) -> None:
        """Take what is sent besides inferences.

        Raises:
            Refused: it would be too much now.
        """
        self._take(client, {"megabytes": megabytes})

    def ever(self, megabytes: float) -> bool:
        """Whether a client may have so many at once."""
        return megabytes <= min(bucket.burst for bucket in (self._all["megabytes"], self._new()["megabytes"]))

    def _new(self) -> dict[str, Bucket]:
        """Of a client that has asked for nothing yet."""
        return {what: Bucket(each, 10 * each) for what, (_, each) in self._rates.items()}

    def _take(self, client: str, amounts: dict[str, float]) -> None:
        with self._lock:
            mine = self._of.setdefault(client, self._new())
            for what, amount in amounts.items():
                for buckets, who in ((mine, f"'{client}'"), (self._all, "all clients")):
                    bucket = buckets[what]
                    if (wait := bucket.wait(amount)) == float("inf"):
                        raise Refused(f"{amount:.3g} {what} at once are more than {who} may ever have", 86400.0)
                    if wait > 0:
                        raise Refused(f"{who}: {bucket.rate:g} {what} a second are allowed", wait)
            for what, amount in amounts.items():
                mine[what].take(amount)
                self._all[what].take(amount)
            if len(self._of) > self._many:
                self._of = {c: b for c, b in self._of.items() if not all(bucket.full() for bucket in b.values())}
                self._many = max(_MANY, 2 * len(self._of))
