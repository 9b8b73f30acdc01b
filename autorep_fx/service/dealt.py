"""Server and client with a dealer: both talk to it, and a client needs E once per model, of the server or its cache."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..errors import PartyError, PeerLost, Refused
from ..secure.link import tls
from ..secure.link.stream import StreamChannel
from ..secure.makers.dealt.blinded_weights import BlindedWeights, digest, empty_blinded
from ..secure.makers.dealt.client import ClientHalf
from ..secure.makers.dealt.server import ServerHalf
from ..secure.plan.plan import Plan
from ..secure.plan.server_numbers import Numbers
from . import preparing
from .addresses import address_of
from .gate import PATIENCE
from .greeting import ask_for, new_session
from .published import seed_of

#: Seconds after which a dealer that was lost may be back.
_AGAIN = 1.0

_DIGEST = re.compile("[0-9a-f]{64}")

log = logging.getLogger(__name__)


class AtServer(preparing.AtServer):
    dealer = True
    begins = ("server",)
    beginning = "fetch what blinds the weights"

    def __init__(self, *made: Any):
        super().__init__(*made)
        self._identity = self.settings.identity(self.settings.dealer)

    def _made(self, plan: Plan, numbers: Mapping[str, Numbers]) -> tuple[Any, dict[str, Any]]:
        seed = seed_of(plan, numbers, self.settings.state)
        model = BlindedWeights(plan.with_comparison(self.comparison), numbers, seed)
        return model, {"weights": digest(model.blinded())}

    def meet(self, program: str, session: str, client: str, draw: preparing.Draw) -> dict[str, StreamChannel]:
        try:
            return {"dealer": self._ask("session", program, session=session, client=client, comparison=self.comparison)}
        except PeerLost as error:
            raise Refused(str(error), _AGAIN) from error

    def report(self, program: str, failed: preparing.Failed) -> None:
        # On a connection of its own: the session's may be in the middle of something.
        self._ask("failed", program, **failed._asdict()).close()

    def _ask(self, what: str, program: str, **more: Any) -> StreamChannel:
        """A connection to the dealer, which has agreed to what is asked for."""
        s = self.settings
        connection = tls.connect(address_of(str(s.dealer)), self._identity, s.dealer_name, PATIENCE)
        dealer = StreamChannel(connection, "server", "dealer", timeout=s.timeout)
        try:
            ask_for(dealer, what, program, name=s.server_name, checked=self.checked, **more)
            dealer.receive_letter()
        except BaseException:
            dealer.close()
            raise
        return dealer

    def begin(self, half: ServerHalf, client: StreamChannel, draw: preparing.Draw) -> None:
        half.share_seeds()
        if client.receive_letter(weights=bool)["weights"]:
            draw()
            half.send_weights()

    def announce(self, links: Mapping[str, StreamChannel], number: int, batch: int, count: int) -> int:
        links["dealer"].send_letter(prepare=number, batch=batch, count=count)
        room = links["dealer"].receive_letter().get("count", 1)
        if type(room) is not int or not 0 < room <= count:
            raise PartyError(f"server: the dealer deals other than 1 to {count} inferences at once")
        return room


class AtClient(preparing.AtClient):
    offered = {"weights": str}

    def check(self, said: Mapping[str, Any]) -> None:
        if not _DIGEST.fullmatch(said["weights"]):  # it names a file
            raise PartyError("client: the server names a digest that there is none of")

    def meet(self, connect: preparing.Connect, program: str, session: str) -> dict[str, StreamChannel]:
        s = self.options
        dealer = connect("dealer", str(s.dealer), s.dealer_name)
        ask_for(dealer, "session", program, name=s.name, session=session, checked=self.checked)
        dealer.receive_letter()
        return {"dealer": dealer}

    def begin(self, half: ClientHalf, server: StreamChannel, said: Mapping[str, Any]) -> None:
        half.share_seeds()
        half.take_weights(self._weights(half, server, said["weights"]))

    def _weights(self, half: ClientHalf, server: StreamChannel, wanted: str) -> list[np.ndarray]:
        """E: from the cache, or from the server."""
        path = None if self.options.cache is None else Path(self.options.cache) / f"{wanted}.safetensors"
        if path is not None and path.exists():
            if (cached := _cached(path, wanted, half.party.plan)) is not None:
                server.send_letter(weights=False)
                return cached
            log.warning("%s is damaged, and is fetched again", path)
        server.send_letter(weights=True)
        blinded = list(half.receive_weights())
        if digest(blinded) != wanted:
            raise PartyError("client: the server sent other weights than it said")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{new_session()}.partial")
            partial.write_bytes(save({str(i): array for i, array in enumerate(blinded)}))
            os.replace(partial, path)
        return blinded


def _cached(path: Path, wanted: str, plan: Plan) -> list[np.ndarray] | None:
    """What a file has; None if that is not what the server says, of the shapes and types that the plan says."""
    try:
        found = load_file(path)
        blinded = [found[str(i)] for i in range(len(found))]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):  # a type that NumPy does not have: the last
        return None
    belong = [(array.dtype, array.shape) for array in empty_blinded(plan)]
    fits = [(array.dtype, array.shape) for array in blinded] == belong
    return blinded if fits and digest(blinded) == wanted else None
