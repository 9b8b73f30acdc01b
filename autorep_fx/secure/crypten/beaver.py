"""Shares on CrypTen's own correlations and comparison: ``kernels="torch"``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ...text import brief
from ..program.program import Step
from .meter import Meter
from .shares import Numbers, Protocol, Shares


class Ask(NamedTuple):
    """What a protocol wants of a round: the product ``op`` ("mul", "matmul", "conv2d") of two shared factors, or the
    "square" of one."""

    op: str
    factors: tuple[Tensor, ...]
    options: dict[str, Any] = {}

    def __repr__(self) -> str:
        return brief(self)

    @property
    def joins(self) -> bool:
        """Whether it can be a part of a longer one."""
        return self.op == "mul" and self.factors[0].shape == self.factors[1].shape


class BeaverShares(Shares):
    """The server's numbers are shared, too."""

    def __init__(self, crypten: ModuleType, frac_bits: int, meter: Meter):
        from crypten.mpc.primitives import ArithmeticSharedTensor, converters

        super().__init__(crypten, frac_bits, meter)
        self._arithmetic, self._converters = ArithmeticSharedTensor, converters
        self.provider = crypten.mpc.get_default_provider()

    def connect(self, numbers: Numbers) -> Numbers:
        return {step: {role: self._share(value, value.shape, 0) for role, value in mine.items()}
                for step, mine in numbers.items()}  # fmt: skip

    def share_input(self, x: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        return self._share(x, shape, 1)

    def exchange(self, *messages: Ask | None) -> list[Callable[[], Tensor] | None]:
        """Start a round; what it gives is waited for when it is called for. Products of one kind are one.

        None says that a comparison follows, with rounds of its own. The round is beside its first one then, and not
        counted.
        """
        self.meter.sends([], int(None not in messages))
        together: dict[Any, list[int]] = {}
        for place, ask in enumerate(messages):
            if ask is not None:
                together.setdefault("joined" if ask.joins else place, []).append(place)
        results: list[Callable[[], Tensor] | None] = [None] * len(messages)
        for places in together.values():
            opening = Opening(self, [messages[place] for place in places])
            for i, place in enumerate(places):
                results[place] = lambda opening=opening, i=i: opening.results[i]
        return results

    def product(self, step: Step, role: str, number: Tensor, x: Tensor) -> Protocol:
        if step.op == "conv2d":
            options = {name: step.attrs[name] for name in ("stride", "padding", "dilation", "groups")}
            return (yield Ask("conv2d", (x, number), options))()
        if step.op == "linear":
            return (yield Ask("matmul", (x, number.t().contiguous())))()
        if role == "lead" and step.attrs["degree"] == 1:
            yield None  # beside the product of the kept positions, not their comparison: the dealer is asked once less
            number = number.expand_as(x)
        if role == "factor":  # the same
            number = number.expand_as(x)
        return (yield Ask("mul", (x, number)))()

    def multiply(self, step: Step, role: str, x: Tensor, y: Tensor) -> Protocol:
        return (yield Ask("mul", (x, y)))()

    def matmul(self, step: Step, role: str, x: Tensor, y: Tensor) -> Protocol:
        return (yield Ask("matmul", (x, y)))()

    def square(self, step: Step, role: str, x: Tensor) -> Protocol:
        return self.rescale((yield Ask("square", (x,)))())

    def relu(self, step: Step, role: str, x: Tensor) -> Protocol:
        """9 rounds, 232 bytes an element from each party."""
        bit = yield from self.drelu(step, role, x)
        return (yield Ask("mul", (x, bit)))()

    def drelu(self, step: Step, role: str, x: Tensor) -> Protocol:
        """8 rounds.

        1. Share the bits of each arithmetic share; no message.
        2. Add them with a carry tree on XOR shares: 1 + 6 rounds.
        3. Turn the sign bit into an arithmetic share: 1 round.

        Online each party sends 16 bytes an AND of 64 bits (1 + 6 * 2 of them) and 8 for the sign: 216 an element.
        """
        yield None
        bits = self._converters._A2B(self._arithmetic.from_shares(x, precision=0))
        bits.share >>= 63
        negative = self._converters._B2A(bits, precision=0, bits=1).share
        return 1 - negative if self.first else -negative

    def _share(self, value: Tensor | None, shape: tuple[int, ...], owner: int) -> Tensor:
        value = value if self.communicator.get_rank() == owner else None
        return self._arithmetic(value, size=torch.Size(shape), precision=0, src=owner).share


class Opening:
    """A Beaver round under way. Several products are one of all their elements.

    1. Take ([a], [b], [a * b]), or ([r], [r**2]).
    2. Open x - a and y - b, or x - r.
    3. Each party finishes on its shares.

    Online each party sends 8 bytes for each element of either factor, of a square for each element.
    """

    def __init__(self, shares: BeaverShares, asked: list[Ask]):
        self._shares, self._asked = shares, asked
        self._op, factors, self._options = asked[0]
        if len(asked) > 1:
            factors = tuple(torch.cat([f.flatten() for f in both]) for both in zip(*(ask.factors for ask in asked)))
        sizes = [x.size() for x in factors]
        if self._op == "square":
            correlation = shares.provider.square(*sizes)
        else:
            correlation = shares.provider.generate_additive_triple(*sizes, self._op, **self._options)
        *self._masks, self._dealt = (part.share for part in correlation)
        self._opened = [x - mask for x, mask in zip(factors, self._masks)]
        shares.meter.sends(self._opened, 0)
        group = shares.communicator.main_group
        self._work = [dist.all_reduce(t, group=group, async_op=True) for t in self._opened]

    @cached_property
    def results(self) -> list[Tensor]:
        """What was asked for; exponents add up."""
        with self._shares.meter.wait_for_peer():
            for work in self._work:
                work.wait()
        total = self._finish()
        if len(self._asked) == 1:
            return [total]
        found = [ask.factors[0] for ask in self._asked]
        return [part.view(x.shape) for part, x in zip(total.split([x.numel() for x in found]), found)]

    def _finish(self) -> Tensor:
        first = self._shares.first
        if self._op == "square":
            (e,), (r,) = self._opened, self._masks
            share = self._dealt + 2 * r * e
            return share.addcmul_(e, e) if first else share
        (d, e), (a, b) = self._opened, self._masks

        def times(x: Tensor, y: Tensor) -> Tensor:
            return getattr(torch, self._op)(x, y, **self._options)

        share = self._dealt + times(d, b) + times(a, e)
        return share.add_(times(d, e)) if first else share
