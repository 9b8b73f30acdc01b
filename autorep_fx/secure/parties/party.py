"""What the three parties have in common: walking the plan, and counting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...errors import PartyError
from ..link.channel import Channel, Clock
from ..link.count import Count
from ..link.message import REQUEST
from ..plan import local
from ..plan.plan import VERSION, Plan, Step
from ..plan.validate import check_plan
from .limits import largest_batch, longest_chain

#: Fills in the value of a step: (its index, the step, values of its inputs).
Visit = Callable[[int, Step, list[np.ndarray]], np.ndarray | None]


def walk(plan: Plan, visit: Visit) -> None:
    """Visit every step in order with its inputs' values, and forget each value after its last reader.

    Public linear steps are computed here; ``visit`` returns the value of every other one.
    """
    gone = plan.last_uses()
    values: dict[str, np.ndarray] = {}
    for index, step in enumerate(plan.steps):
        inputs = [values[name] for name in step.inputs]
        values[step.name] = local.apply(step, *inputs) if step.op == "local" else visit(index, step, inputs)
        for name in gone.get(step.name, ()):
            del values[name]


class Party:
    """A party and its links.

    Args:
        plan: what everyone knows.
        max_batch: samples that an inference may have, :func:`~.limits.largest_batch` if None.
        links: the channels to the other two, by name.

    Raises:
        FormatError: no plan that could be run; names the step.
    """

    name = ""

    def __init__(self, plan: Plan, *, max_batch: int | None = None, **links: Channel):
        self.plan, self.links, self.clock = check_plan(plan), links, Clock(longest_chain(plan))
        self.max_batch = largest_batch(plan) if max_batch is None else max_batch
        for channel in links.values():
            channel.clock = self.clock
            channel.steps = tuple(step.name for step in plan.steps)

    def hello(self) -> None:
        """Agree with both others on version and plan. All greetings go out first: nobody waits for one who waits."""
        digest = self.plan.digest()
        for channel in self.links.values():
            channel.greet(VERSION, digest)
        for channel in self.links.values():
            channel.check_greeting(VERSION, digest)

    def next_batch(self) -> int:
        """Wait for the client's request of one inference; its batch size, or 0 where it wants no more.

        Raises:
            PartyError: it asks for more than ``max_batch`` samples, or for a negative number.
        """
        batch = np.empty(1, np.int64)
        self.links["client"].wait()
        self.links["client"].receive(REQUEST, batch)
        if not 0 <= batch[0] <= self.max_batch:
            raise PartyError(
                f"{self.name}, at request: the client asks for {batch[0]} samples; 1 to {self.max_batch} are allowed"
            )
        return int(batch[0])

    def start_counting(self) -> None:
        self.clock.depth = 0
        for channel in self.links.values():
            channel.reset()

    def count(self) -> Count:
        """What this party sent since :meth:`start_counting`."""
        return Count(
            {peer: channel.bytes_sent for peer, channel in self.links.items()},
            {peer: channel.messages_sent for peer, channel in self.links.items()},
            self.clock.depth,
        )

    def close(self) -> None:
        for channel in self.links.values():
            channel.close()
