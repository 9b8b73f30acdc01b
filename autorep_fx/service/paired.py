"""Server and client without a dealer: nobody else takes part, and a session begins with keys and base transfers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..secure.link.stream import StreamChannel
from ..secure.makers.maker import Half
from ..secure.plan.plan import Plan
from ..secure.plan.server_numbers import Numbers
from . import preparing


class AtServer(preparing.AtServer):
    dealer = False
    begins = ("client", "server")
    beginning = "exchange what a session begins with"

    def _made(self, plan: Plan, numbers: Mapping[str, Numbers]) -> tuple[Any, dict[str, Any]]:
        return self.maker.model(plan.with_comparison(self.comparison), numbers), {}

    def meet(self, program: str, session: str, client: str, draw: preparing.Draw) -> dict[str, StreamChannel]:
        draw()  # every session begins anew
        return {}

    def begin(self, half: Half, client: StreamChannel, draw: preparing.Draw) -> None:
        half.setup()


class AtClient(preparing.AtClient):
    def begin(self, half: Half, server: StreamChannel, said: Mapping[str, Any]) -> None:
        half.setup()
