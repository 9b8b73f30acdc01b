"""What all parties have in common: a plan, links, and a count of what they sent."""

from __future__ import annotations

from ..link.channel import Channel, Clock
from ..link.count import Count
from ..plan.message_rounds import message_rounds
from ..plan.plan import VERSION, Plan
from ..plan.validate import check_plan

#: The longest chain of messages outside of the online phase: greeting, seed, request, and the offline phase's three, of
#: a checked plan five.
_OFFLINE_DEPTH = 8


class Party:
    """A party and its links.

    Args:
        name: "client", "server", or what a maker of correlations calls its own.
        plan: what everyone knows.
        links: the channels to the others, by name.

    Raises:
        FormatError: no plan that could be run; names the step.
    """

    def __init__(self, name: str, plan: Plan, **links: Channel):
        self.name, self.plan, self.links = name, check_plan(plan), links
        #: Each message may follow on all of the online phase and all before it; a request on the inference before.
        self.clock = Clock(sum(message_rounds(plan).values()) + _OFFLINE_DEPTH)
        for channel in links.values():
            channel.clock = self.clock
            channel.steps = tuple(step.name for step in plan.steps)

    def hello(self) -> None:
        """Agree with all others on version and plan. All greetings go out first: nobody waits for one who waits."""
        digest = self.plan.digest()
        for channel in self.links.values():
            channel.greet(VERSION, digest)
        for channel in self.links.values():
            channel.check_greeting(VERSION, digest)

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
