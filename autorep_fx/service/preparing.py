"""What server and client do beside the halves of their maker, so that inferences are prepared: whom else they talk to,
and what a session begins with. There is a file for makers with a dealer, and one for those without; table.py has both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from ..secure.link.stream import StreamChannel
from ..secure.makers.maker import Maker
from ..secure.plan.plan import Plan
from ..secure.plan.server_numbers import Numbers
from .options import Options
from .settings import Serve

#: Connects to a party: its role, HOST:PORT, and whom its certificate has to name.
Connect = Callable[[str, str, str], StreamChannel]

#: Takes the megabytes of what a session begins with; Refused if they would be too many now.
Draw = Callable[[], None]


class Failed(NamedTuple):
    """A check that has failed.

    Attributes:
        client: its name; fingerprint: of its certificate, "" where there is none.
        session, number: of the inference.
    """

    client: str
    fingerprint: str
    session: str
    number: int


class AtServer(ABC):
    """Of a server, for all of its sessions.

    Args:
        maker: of correlations.
        plan: as it was published; comparison: of its sessions.

    Attributes:
        dealer: whether there is one.
        checked: whether the program is.
        begins: who sends what a session begins with and the megabytes of a client count.
        beginning: what a client does then.
        model: what the maker has made of the weights.
        offer: what a client is told when it opens a session.
    """

    dealer: ClassVar[bool]
    begins: ClassVar[tuple[str, ...]]
    beginning: ClassVar[str]

    def __init__(self, maker: Maker, plan: Plan, comparison: str, numbers: Mapping[str, Numbers], settings: Serve):
        self.maker, self.settings, self.comparison, self.checked = maker, settings, comparison, plan.checked
        self.model, self.offer = self._made(plan, numbers)

    @abstractmethod
    def _made(self, plan: Plan, numbers: Mapping[str, Numbers]) -> tuple[Any, dict[str, Any]]:
        """Model and offer."""

    @abstractmethod
    def meet(self, program: str, session: str, client: str, draw: Draw) -> dict[str, StreamChannel]:
        """Links to those who take part in a client's session, by role; before it is told of one.

        Raises:
            Refused: one of them is not there just now, or refuses; or as of ``draw``.
        """

    @abstractmethod
    def begin(self, half: Any, client: StreamChannel, draw: Draw) -> None:
        """What a session begins with, once its client has both connections.

        Raises:
            Refused: as of ``draw``.
        """

    def announce(self, links: Mapping[str, StreamChannel], number: int, batch: int, count: int) -> int:
        """Tell those links of ``count`` inferences that are prepared next, from a number on; returns for how many of
        them all have room.

        Raises:
            Refused: one of them refuses all.
        """
        return count

    def report(self, program: str, failed: Failed) -> None:  # noqa: B027  (nobody else takes part)
        """Tell those who take part of a client whose messages have not passed a check.

        Raises:
            PartyError: one of them was not reached, or will not hear of it.
        """


class AtClient(ABC):
    """Of one session of a client.

    Args:
        checked: whether the program is.

    Attributes:
        offered: entries of the letter in which the server opens a session, with their types.
    """

    offered: ClassVar[dict[str, type]] = {}

    def __init__(self, options: Options, checked: bool = False):
        self.options, self.checked = options, checked

    def check(self, said: Mapping[str, Any]) -> None:  # noqa: B027  (nothing is offered)
        """Raise PartyError for a letter whose entries cannot be."""

    def meet(self, connect: Connect, program: str, session: str) -> dict[str, StreamChannel]:
        """Links to those who take part beside the server, by role."""
        return {}

    @abstractmethod
    def begin(self, half: Any, server: StreamChannel, said: Mapping[str, Any]) -> None:
        """What a session begins with."""
