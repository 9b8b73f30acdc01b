"""What the client of a dealt inference has from its seed, as its dealer needs it: in the rings of the plan, with tags
where the plan is checked.

In a checked plan all that the client holds of a step is one buffer of 64-bit numbers, from one stream. The server has
another one of the same form, from its own seed: the local part of the tags. The dealer, who has both, and the server's
key, sends the client the tags.

What blinds a map's result, c, enters a message of the client's only where another map reads it. Elsewhere the client
does not have it: U of the map is of the server's seed, in place of c of the client's, and the dealer computes c.
"""

from __future__ import annotations

import numpy as np

from ...correlations import layout
from ...correlations.layout import Layout
from ...correlations.prepared import Shares
from ...correlations.stream import Stream
from ...correlations.tags import BLINDING, T
from ...plan import wire
from ...plan.plan import Plan, Step
from ...plan.ring import U64, elements, narrowed, signed
from .seeds import BLIND, CHECK_KEY, DRAWN_U, HELD, LOCAL, OPENING, SHARES, T_MASK

#: Bits of the key of an inference's tags. With fewer, errors pass by chance.
KEY_BITS = 32


def opening_masks(step: Step, index: int, batch: int, stream: Stream) -> np.ndarray:
    """A party's half of the masks under which a spline's coefficients are opened."""
    return stream.elements(index, OPENING, wire.openings(step, batch), step.width)


def check_key(server: Stream) -> np.ndarray:
    """The key of an inference's tags, (1,): drawn anew for each, of the server's seed."""
    return server.words(0, CHECK_KEY, 1) >> U64(64 - KEY_BITS)


def held_arrays(plan: Plan, step: Step, batch: int) -> Layout:
    """All that the client holds of a step of :attr:`~...plan.plan.Plan.lifted`, of ``plan`` or of that."""
    ring, whole = elements(step.width).type, (batch, *step.shape)
    found = layout.whole(step, batch) if step.masked else {}
    if "knots" in step.attrs:
        found["a"] = (wire.openings(step, batch), ring)
    if step.op == "map":
        found[T] = (whole, ring)
    return found if draws_u(plan, step) or not is_tagged(step) else {**found, BLINDING: (whole, ring)}


def is_tagged(step: Step) -> bool:
    """Whether what the client holds of a step enters a message of its: of the output's, nothing does."""
    return step.answered or step.op in ("input", "map")


def draws_u(plan: Plan, step: Step) -> bool:
    """Whether U of a map is drawn from the server's seed, in a checked plan."""
    return step.op == "map" and step.name not in plan.mapped


def drawn_u(step: Step, index: int, batch: int, server: Stream) -> np.ndarray:
    """U of such a map."""
    return server.elements(index, DRAWN_U, (batch, *step.shape), step.width)


def held(plan: Plan, index: int, batch: int, client: Stream) -> tuple[np.ndarray, Shares]:
    """The client's numbers of a step of :attr:`~...plan.plan.Plan.lifted`, as a buffer and by name."""
    return _named(plan, index, batch, client, HELD)


def local(plan: Plan, index: int, batch: int, server: Stream) -> tuple[np.ndarray, Shares]:
    """The local parts of their tags."""
    return _named(plan, index, batch, server, LOCAL)


def _named(plan: Plan, index: int, batch: int, stream: Stream, slot: int) -> tuple[np.ndarray, Shares]:
    found = held_arrays(plan, plan.steps[index], batch)
    buffer = stream.words(index, slot, layout.words(found))
    return buffer, layout.views(buffer, found)


class Own:
    """The client's numbers in a plan that is not checked.

    Args:
        client: of its seed.
    """

    def __init__(self, client: Stream):
        self.client = client

    def blinding(self, step: Step, index: int, batch: int) -> np.ndarray:
        """B of what the step leaves blinded."""
        return self.client.elements(index, BLIND, (batch, *step.shape), step.width)

    def map(self, step: Step, index: int, batch: int, product: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """c of a map whose ``A B - t`` is ``product``, and U, if that is sent."""
        c = self.blinding(step, index, batch)
        return c, product - c

    def t_mask(self, step: Step, index: int, batch: int) -> np.ndarray:
        """t of a map."""
        return self.client.elements(index, T_MASK, (batch, *step.shape), step.width)

    def shares(self, step: Step, index: int, batch: int) -> tuple[np.ndarray, Shares]:
        """Its half of a masked step's arrays, which becomes the server's in place; and the buffer that holds them."""
        found = layout.layout(step, batch)
        buffer = self.client.words(index, SHARES, layout.words(found))
        return buffer, layout.views(buffer, found)

    def opening(self, step: Step, index: int, batch: int) -> np.ndarray:
        """Its half of the masks of a spline's opening."""
        return opening_masks(step, index, batch, self.client)

    def payload(self, payload: np.ndarray) -> np.ndarray:
        """What its comparison keys carry, (n, payloads)."""
        return payload

    def tags(self, step: Step, index: int, batch: int) -> tuple[np.ndarray, ...]:
        """What it is sent of a step, beside a key."""
        return ()


class Tagged(Own):
    """In a checked plan."""

    def __init__(self, plan: Plan, client: Stream, server: Stream):
        super().__init__(client)
        self._lifted, self._server, self._key = plan.lifted, server, check_key(server)
        self._last: tuple[int, tuple[np.ndarray, Shares]] | None = None

    def _held(self, index: int, batch: int) -> tuple[np.ndarray, Shares]:
        if self._last is None or self._last[0] != index:
            self._last = index, held(self._lifted, index, batch, self.client)
        return self._last[1]

    def blinding(self, step: Step, index: int, batch: int) -> np.ndarray:
        return narrowed(self._held(index, batch)[1][BLINDING], step.width)

    def map(self, step: Step, index: int, batch: int, product: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        if not draws_u(self._lifted, step):
            return super().map(step, index, batch, product)
        return product - drawn_u(step, index, batch, self._server), None

    def t_mask(self, step: Step, index: int, batch: int) -> np.ndarray:
        return narrowed(self._held(index, batch)[1][T], step.width)

    def shares(self, step: Step, index: int, batch: int) -> tuple[np.ndarray, Shares]:
        found = layout.whole(step, batch)
        buffer = np.zeros(layout.words(found), U64)
        mine = layout.views(buffer, found)
        for name, array in mine.items():
            array[...] = self._held(index, batch)[1][name]  # their low bits
        return buffer, mine

    def opening(self, step: Step, index: int, batch: int) -> np.ndarray:
        return narrowed(self._held(index, batch)[1]["a"], step.width)

    def payload(self, payload: np.ndarray) -> np.ndarray:
        lifted = signed(payload).view(U64)
        return np.concatenate([lifted, self._key * lifted], 1)

    def tags(self, step: Step, index: int, batch: int) -> tuple[np.ndarray, ...]:
        if not is_tagged(step):
            return ()
        return (self._server.tags(index, LOCAL, self._held(index, batch)[0], int(self._key[0])),)


def own(plan: Plan, client: Stream, server: Stream) -> Own:
    """Of a plan's client."""
    return Tagged(plan, client, server) if plan.checked else Own(client)
