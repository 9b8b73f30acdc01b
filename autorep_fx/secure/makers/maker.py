"""What a way to make correlations is: the seam between the offline phase and everything else.

A maker leaves, at client and server, a :class:`~..correlations.prepared.Prepared` for each inference: the client's
blindings and the server's masks by step, and the shares that correlations/layout.py names. Online code (parties/) needs
nothing else of it. What it takes to write one: a folder beside dealt/, with a :class:`Maker` whose halves talk over the
links of their party, and a line in table.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...text import brief
from ..correlations.prepared import Prepared
from ..link.network import Network
from ..parties.party import Party
from ..parties.server import Server
from ..plan.plan import CHECKED, Plan
from ..plan.server_numbers import Numbers
from ..rates import Rates


class Part(ABC):
    """What one party does offline, in one session.

    Attributes:
        party: whose it is; its links are used, and what is sent is counted there.
        inference: the number of the last one; all parts count alike, from 1.
    """

    def __init__(self, party: Party):
        self.party, self.inference = party, 0

    @abstractmethod
    def setup(self) -> None:
        """Once a session, before the first inference."""


class Half(Part):
    """What client or server do.

    Attributes:
        between_two: whether they talk to nobody else, so that it is their network on which the time depends.
        asked: whether a client was asked about what it sent, and has not answered yet: if it leaves now, it has failed.
    """

    between_two: ClassVar[bool] = False
    asked = False

    @abstractmethod
    def prepare(self, batch: int) -> Prepared:
        """The offline phase of one inference on ``batch`` samples."""

    def prepare_several(self, batch: int, count: int) -> list[Prepared]:
        """That of the next ``count``; at once, where :attr:`Maker.together` says that it costs less."""
        return [self.prepare(batch) for _ in range(count)]


class Helper(Part):
    """What a party does that is neither client nor server."""

    @abstractmethod
    def serve(self, batch: int) -> None:
        """Its part of one inference on ``batch`` samples."""


@dataclass
class StepOffline:
    """What one step costs offline.

    Attributes:
        sent: bytes, by party, headers included.
        seconds: of the slowest party, without the network.
        link_seconds: that what it sends occupies the busiest link.
    """

    sent: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    link_seconds: float = 0.0


@dataclass(frozen=True)
class Offline:
    """What an inference costs offline, declared; a test holds bytes to what is counted.

    Attributes:
        steps: by name.
        sent: bytes of all, by party, those beside the steps among them.
        rounds: messages that wait for one another.
        seconds: predicted, the network included.
        setup: bytes once a session, by party, greetings not counted.
    """

    steps: dict[str, StepOffline]
    sent: dict[str, int]
    rounds: int
    seconds: float
    setup: dict[str, int]

    __repr__ = brief


class Maker(ABC):
    """One way to make correlations.

    Attributes:
        name: what it is called in messages.
        helpers: roles beside "client" and "server".
        comparisons: which variants of a plan's comparisons it has correlations for.
        together: whether inferences that are prepared at once cost less than one after the other.
        nearest: whether a truncated value is rounded to the nearest of what is near it (plan/rounding.py).
    """

    name: ClassVar[str]
    helpers: ClassVar[tuple[str, ...]]
    comparisons: ClassVar[tuple[str, ...]]
    together: ClassVar[bool] = False
    nearest: ClassVar[bool] = False

    @property
    def kept_bytes(self) -> int:
        """What a half keeps from one inference to the next while its session is open, at most; beside what is prepared
        and a few keys."""
        return 0

    @property
    def roles(self) -> tuple[str, ...]:
        """All parties; each one is linked to all others."""
        return ("client", "server", *self.helpers)

    def check_comparison(self, name: str) -> None:
        """Raise ValueError for a variant that it has no correlations for."""
        if name not in self.comparisons:
            raise ValueError(
                f"comparison={name!r} needs a dealer: its keys are made by somebody who knows the masks that they "
                f"hide; without one it is {' or '.join(map(repr, self.comparisons))}"
            )

    def comparisons_of(self, plan: Plan) -> tuple[str, ...]:
        """Which variants it has correlations for, of those that a plan allows.

        Raises:
            ValueError: the plan is checked, and that takes a dealer.
        """
        if not plan.checked:
            return self.comparisons
        if CHECKED not in self.comparisons:
            raise ValueError(
                "a checked program needs a dealer, who makes the tags that the client's messages are checked by, and "
                "knows the masks; compile without checked=True to run without one"
            )
        return (CHECKED,)

    def saves_together(self, plan: Plan) -> bool:
        """Whether inferences of a plan that are prepared at once cost less than one after the other: those of a checked
        one do, as one challenge asks about all of them."""
        return self.together or plan.checked

    @abstractmethod
    def model(self, plan: Plan, numbers: Mapping[str, Numbers]) -> Any:
        """What the server makes of its numbers once, for all sessions."""

    @abstractmethod
    def client(self, party: Party) -> Half: ...

    @abstractmethod
    def server(self, party: Server, model: Any) -> Half: ...

    @abstractmethod
    def helper(self, role: str, party: Party) -> Helper: ...

    @abstractmethod
    def offline(self, plan: Plan, batch: int, network: Network, rates: Rates) -> Offline:
        """What an inference on ``batch`` samples costs offline, on a network and a machine."""
