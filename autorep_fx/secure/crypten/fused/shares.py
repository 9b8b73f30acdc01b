"""Shares that are worked on with the compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .... import kernels
from ...correlations.stream import Stream
from ...makers.dealt.blinded_weights import BlindedWeights, pack_blinded
from ...parties.weights import Weights
from ...plan import linear
from ...plan import server_numbers as native
from ...plan.ring import U64
from ...program.program import Step
from ..fixed_point import FixedPublic
from ..meter import Meter
from ..roles import CLIENT, DEALER, SERVER
from ..shares import Numbers, Protocol, Shares
from . import correlations, protocols
from .channel import Channel, Message
from .dealer import INFERENCE, SEED_WORDS, Dealer, new_seed, receive_seeds, to_seeds, to_words
from .plan import plan, prepare, to_text
from .sources import Remote, Source


class FusedShares(Shares):
    """The server's numbers are not shared: the server has them, the client has zeros in their place. What shared values
    are multiplied by is opened to the client once, under a mask (``weights``).

    Attributes:
        party: 0 for the server, 1 for the client.
        weights: what products multiply by, packed: at the server the numbers themselves, at the client ``E = W - A``.
    """

    def __init__(self, crypten: ModuleType, public: FixedPublic, batch: int, provider: str, meter: Meter, threads: int):
        super().__init__(crypten, public.frac_bits, meter)
        kernels.set_num_threads(threads)
        self.party = SERVER if self.first else CLIENT
        self._needs, self._batch, self._provider = plan(public), batch, provider
        self._remote: Remote | None = None
        self._held: dict[str, correlations.Held] = {}
        self._by_name = {need.name: need for need in self._needs.steps}
        self._channel = Channel(self.communicator, meter)

    def connect(self, numbers: Numbers) -> Numbers:
        """Once per model; returns the numbers as they came.

        1. The dealer gives each party the seed of its masks, and the server that of its weight masks. TFP: party 0 is
           the dealer and sends the client's. TTP: the server first tells the dealer the plan, which is sizes only.
        2. The client sends a seed for the server's share of inputs, which says nothing about them.
        3. The server sends ``E = W - A`` for every factor W: 8 bytes a number.
        """
        mask_seed = self._meet_dealer()
        if self.first:
            (seed,) = self._receive_seeds()
        else:
            self.exchange(Message(to_words([seed := new_seed()])))
        self._inputs = Stream(seed, 0)
        self.weights = prepare(self._needs, self._batch, self._open_weights(numbers, mask_seed))
        return numbers

    def share_input(self, x: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """No message: the server's share is from a seed that both have."""
        if self._remote:
            self._remote.start()
        mask = _signed(self._inputs.elements(0, 0, shape, 64))
        return mask if self.first else x - mask

    def exchange(self, *messages: Message) -> list[np.ndarray | None]:
        return self._channel.exchange(*messages)

    def product(self, step: Step, role: str, number: Tensor, x: Tensor) -> Protocol:
        return self._protocol(protocols.product, step, role, x)

    def multiply(self, step: Step, role: str, x: Tensor, y: Tensor) -> Protocol:
        return self._protocol(protocols.multiply, step, role, x, y)

    def matmul(self, step: Step, role: str, x: Tensor, y: Tensor) -> Protocol:
        return self._protocol(protocols.matmul, step, role, x, y)

    def square(self, step: Step, role: str, x: Tensor) -> Protocol:
        return self._protocol(protocols.square, step, role, x)

    def relu(self, step: Step, role: str, x: Tensor) -> Protocol:
        return self._protocol(protocols.relu, step, role, x)

    def drelu(self, step: Step, role: str, x: Tensor) -> Protocol:
        return self._protocol(protocols.drelu, step, role, x)

    def add(self, share: Tensor, number: Tensor) -> Tensor:
        return share + number if self.first else share  # the client's would be zeros

    def open_to(self, share: Tensor, receiver: int) -> Tensor | None:
        """Reveal to one party. One message."""
        if self.party != receiver:
            self.exchange(Message(_ring(share)))
            return None
        (other,) = self.exchange(Message(None, share.shape))
        return (_signed(other) + share).double() / 2.0**self.frac_bits

    def _protocol(self, protocol: Callable, step: Step, role: str, *inputs: Tensor) -> Protocol:
        """A protocol with its correlation, which is given out once."""
        name = f"{step.name}.{role}"
        if name not in self._held:
            self._held.update(self._source.take(step.name))
        held = {**self._held.pop(name), "weight": self.weights.get(name)}
        found = yield from protocol(self.party, self._by_name[name], held, *map(_ring, inputs))
        return _signed(found)

    def _meet_dealer(self) -> bytes:
        """Set up where correlations come from; returns, at the server, the seed of the weights' masks."""
        needs, batch, third = self._needs, self._batch, self._provider == "TTP"
        if not self.first:
            seeds = receive_seeds(self.communicator, 1) if third else self._receive_seeds()
        elif third:
            self.communicator.send_obj(to_text(needs, batch), DEALER, self.communicator.ttp_group)
            seeds = receive_seeds(self.communicator, 2)
        else:
            seeds = [new_seed() for _ in range(3)]
            self.exchange(Message(to_words(seeds[2:])))
        own, dealt = Stream(seeds[self.first], INFERENCE), None
        if self.first and third:
            dealt = self._remote = Remote(needs, batch, self.communicator, self.meter)
        elif self.first:
            dealt = Dealer(needs, batch, seeds).deal
        self._source = Source(needs, batch, self.party, own, dealt, self.meter)
        return seeds[0]

    def _receive_seeds(self) -> list[bytes]:
        return to_seeds(self.exchange(Message(None, (SEED_WORDS,)))[0])

    def _open_weights(self, numbers: Numbers, mask_seed: bytes) -> dict[str, Any]:
        """Each factor under its mask goes to the client; returns what this party multiplies by, packed."""
        shapes = {need.name: linear.weight_shape(need) for need in self._needs.steps if need.op == "map"}
        if not self.first:
            return pack_blinded(self._needs, (self.exchange(Message(None, shape))[0] for shape in shapes.values()))
        factors = {}
        for name, shape in shapes.items():
            step, _, role = name.rpartition(".")
            factors[name] = _factor(numbers[step][role], shape)
        for e in BlindedWeights(self._needs, factors, mask_seed).blinded():
            self.exchange(Message(e))
        return Weights(self._needs, factors).packed


def _factor(number: Tensor, shape: tuple[int, ...]) -> native.Numbers:
    """The server's own weights are small; masks take the whole ring."""
    small = number.numel() and -(2**31) <= int(number.min()) and int(number.max()) < 2**31
    return native.Numbers(_ring(number).reshape(shape), bits=32 if small else 64)


def _ring(share: Tensor) -> np.ndarray:
    """The same bits as ring elements."""
    return share.numpy().view(U64)


def _signed(ring: np.ndarray) -> Tensor:
    """The same bits as a tensor of int64."""
    return torch.from_numpy(ring.view(np.int64))
