"""A party that works with the compiled kernels."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from .... import kernels
from ...program import tensor_ops
from ...program.program import Step
from ..fixed_point import FixedPublic
from ..kernels import FusedKernels
from ..meter import Meter
from ..roles import DEALER
from ..values import Values
from . import plan as planning
from .channel import Channel, Message
from .dealer import Dealer, receive_seeds, seed_words, to_seeds
from .sources import Remote, Source
from .streams import Stream, new_seed
from .weights import Factor


class FusedShares(Values):
    """One party's view of shared ring elements, as in :class:`~..beaver.Shares`, and its way to work on them.

    The numbers of the server are not shared: the server has them, the client has zeros in their place. What shared
    values are multiplied by is opened to the client once, under a mask (``factors``).

    Attributes:
        party: 0 for the server, 1 for the client.
        factors: name -> operand of products: at the server the numbers themselves, at the client ``E = W - A``.
    """

    def __init__(self, crypten: ModuleType, public: FixedPublic, batch: int, provider: str, meter: Meter, threads: int):
        super().__init__(crypten, FusedKernels(), public.frac_bits, meter)
        kernels.set_num_threads(threads)
        self.party = 0 if self.first else 1
        self._public, self._plan, self._provider = public, planning.plan(public, batch), provider
        self._channel = Channel(self.communicator, meter)
        self.run = self._channel.run

    def connect(self, server: dict[str, Tensor] | None, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Once per model; returns the server's numbers as this party has them.

        1. The dealer gives each party the seed of its masks, and the server that of its weight masks. TFP: party 0 is
           the dealer and sends the client's. TTP: the server first tells the dealer the plan, which is sizes only.
        2. The client sends a seed for the server's share of inputs, which says nothing about them.
        3. The server sends ``E = W - A`` for every factor W: 8 bytes a number.
        """
        masks = self._meet_dealer()
        common = self._channel.exchange(Message(None, (2,)) if self.first else Message(seed_words(seed := new_seed())))
        self._inputs = Stream(to_seeds(common[0])[0] if self.first else seed)
        secrets = {key: server[key] if self.first else torch.zeros(shape, dtype=torch.int64)
                   for key, shape in shapes.items()}  # fmt: skip
        self._open_factors(secrets, masks)
        if self.first:
            self._by_position = {
                (step.name, role): tensor_ops.by_position(step, secrets[step.secrets[role]], part)
                for step in self._public.steps
                for role, part in (("offset", "square"), ("constant", "square"), ("coeffs", "direct"))
                if step.op == "hybrid" and role in step.secrets
            }
        return secrets

    def start(self) -> None:
        """The online phase begins."""
        if self._remote:
            self._remote.start()

    def share_input(self, x: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """Share the client's input. No message: the server's share is from a seed that both have."""
        mask = self._inputs(shape)
        return mask if self.first else x - mask

    def add_known(self, share: Tensor, value: Tensor) -> Tensor:
        """Add what only the server knows. Local."""
        return share + value if self.first else share

    def add_by_position(self, share: Tensor, step: Step, role: str, row: int | None = None) -> Tensor:
        """Add per-channel numbers of the server (a row of its coefficients) to the positions of a part of a site."""
        if not self.first:
            return share
        value = self._by_position[step.name, role]
        return share + (value if row is None else value[row])

    def open_to(self, share: Tensor, receiver: int) -> Tensor | None:
        """Reveal to one party. One message."""
        if self.party != receiver:
            self._channel.exchange(Message(share))
            return None
        (other,) = self._channel.exchange(Message(None, share.shape))
        return other.add_(share).double() / 2.0**self.frac_bits

    def take(self, step: Step) -> dict[str, tuple]:
        """This party's part of the correlations of a step, by role; each is given out once."""
        return self._source.take(step.name)

    def _meet_dealer(self) -> Stream | None:
        """Sets up where correlations come from; returns the stream of the weight masks at the server."""
        dealt = masks = self._remote = None
        if self._provider == "TFP":
            if self.first:
                seeds = [new_seed() for _ in range(3)]
                self._channel.exchange(Message(seed_words(seeds[2])))
                dealt, masks, own = Dealer(self._plan, seeds).deal, Stream(seeds[0]), seeds[1]
            else:
                (own,) = to_seeds(self._channel.exchange(Message(None, (2,)))[0])
        elif self.first:
            self.communicator.send_obj(self._plan.to_json(), DEALER, self.communicator.ttp_group)
            mask_seed, own = receive_seeds(self.communicator, 2)
            masks = Stream(mask_seed)
            dealt = self._remote = Remote(self._plan, self.communicator, self.meter)
        else:
            (own,) = receive_seeds(self.communicator, 1)
        self._source = Source(self._plan, Stream(own), dealt, self.meter)
        return masks

    def _open_factors(self, secrets: dict[str, Tensor], masks: Stream | None) -> None:
        weights, self.factors = self._plan.weights, {}
        if self.first:
            found = {}
            for step in self._public.steps:
                mine = {role: secrets[key] for role, key in step.secrets.items()}
                found.update({f"{step.name}.{role}": value for role, value in planning.values(step, mine).items()})
            for name, weight in weights.items():
                self._channel.exchange(Message(found[name] - masks(weight.shape)))
                self.factors[name] = Factor(weight, found[name])
        else:
            for name, weight in weights.items():
                (opened,) = self._channel.exchange(Message(None, weight.shape))
                self.factors[name] = Factor(weight, opened)
