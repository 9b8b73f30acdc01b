"""The maker with a dealer, as others see it."""

from __future__ import annotations

from collections.abc import Mapping

from ...link.network import Network
from ...parties.party import Party
from ...parties.server import Server
from ...plan.plan import VARIANTS, Plan
from ...plan.server_numbers import Numbers
from ...rates import Rates
from ..maker import Helper, Maker, Offline
from .blinded_weights import BlindedWeights
from .checked_client import CheckedClientHalf
from .checked_server import CheckedServerHalf
from .client import ClientHalf
from .cost import offline
from .dealer import Dealer
from .server import ServerHalf


class Dealt(Maker):
    """Client, server and a dealer, who learns nothing and must not share what it knows."""

    name = "dealt"
    helpers = ("dealer",)
    comparisons = VARIANTS

    def model(self, plan: Plan, numbers: Mapping[str, Numbers]) -> BlindedWeights:
        return BlindedWeights(plan, numbers)

    def client(self, party: Party) -> ClientHalf:
        return CheckedClientHalf(party) if party.plan.checked else ClientHalf(party)

    def server(self, party: Server, model: BlindedWeights) -> ServerHalf:
        return CheckedServerHalf(party, model) if party.plan.checked else ServerHalf(party, model)

    def helper(self, role: str, party: Party) -> Helper:
        return Dealer(party)

    def offline(self, plan: Plan, batch: int, network: Network, rates: Rates) -> Offline:
        return offline(plan, batch, network, rates)
