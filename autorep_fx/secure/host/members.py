"""The parties of a run, by role, as a maker of correlations wants them."""

from __future__ import annotations

from collections.abc import Mapping

from ..link.channel import Channel
from ..makers.maker import Maker
from ..parties.client import Client
from ..parties.party import Party
from ..parties.server import Server
from ..parties.weights import Weights
from ..plan.plan import Plan
from ..plan.server_numbers import Numbers
from .admission import largest_batch
from .loop import Member


def member(
    role: str,
    plan: Plan,
    maker: Maker,
    links: Mapping[str, Channel],
    *,
    numbers: Mapping[str, Numbers] | None = None,
    max_batch: int | None = None,
) -> Member:
    """One of ``maker.roles``.

    Args:
        links: to all others, by role.
        numbers: the server's.
        max_batch: samples that an inference may have, :func:`~.admission.largest_batch` if None.

    Raises:
        ValueError: the maker has no correlations for such a plan.
    """
    maker.comparisons_of(plan)  # of a checked plan not every maker has any
    most = largest_batch(plan, maker) if max_batch is None else max_batch
    if role == "client":
        client = Client(plan, **links)
        return Member(client, maker.client(client), most)
    if role == "server":
        server = Server(plan, Weights(plan, numbers), **links)
        return Member(server, maker.server(server, maker.model(plan, numbers)), most)
    helper = Party(role, plan, **links)
    return Member(helper, maker.helper(role, helper), most)
