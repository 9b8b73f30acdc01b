"""The maker without a helper, as others see it."""

from __future__ import annotations

from collections.abc import Mapping

from ...link.network import Network
from ...parties.party import Party
from ...parties.server import Server
from ...plan.plan import Plan
from ...plan.server_numbers import Numbers
from ...rates import Rates
from ..maker import Helper, Maker, Offline
from .client import ClientHalf
from .cost import offline
from .half import Extension
from .model import EncryptedMaps
from .server import ServerHalf
from .table import check_made


class Paired(Maker):
    """Client and server alone. There is no comparison key, for nobody may know the mask that it is about.

    Args:
        name: of this one among them.
        extension: of oblivious transfers.
    """

    helpers = ()
    comparisons = ("gmw",)
    together = True
    nearest = True

    def __init__(self, name: str, extension: Extension):
        self.name, self.extension = name, extension  # type: ignore[misc]  # of the class elsewhere

    @property
    def kept_bytes(self) -> int:
        return 2 * self.extension.kind.kept_bytes  # transfers both ways

    def model(self, plan: Plan, numbers: Mapping[str, Numbers]) -> EncryptedMaps:
        return EncryptedMaps(plan, numbers, self.extension.transform_bits)

    def client(self, party: Party) -> ClientHalf:
        check_made(party.plan)
        return ClientHalf(party, self.extension)

    def server(self, party: Server, model: EncryptedMaps) -> ServerHalf:
        check_made(party.plan)
        return ServerHalf(party, model, self.extension)

    def helper(self, role: str, party: Party) -> Helper:
        raise KeyError(role)

    def offline(self, plan: Plan, batch: int, network: Network, rates: Rates) -> Offline:
        check_made(plan)
        return offline(plan, batch, network, rates, self.extension)
