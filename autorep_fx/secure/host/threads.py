"""The three parties as threads of one process, for tests and for looking at messages."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from ...text import brief
from ..link.count import Count
from ..link.local import local_pair
from ..parties.client import Client
from ..parties.dealer import Dealer
from ..parties.party import Party
from ..parties.server import Server
from ..parties.weights import Weights
from ..plan.numbers import Numbers
from ..plan.plan import Plan
from .loop import PhaseReport, work


@dataclass
class Trio:
    """The parties of one run in this process."""

    client: Client
    server: Server
    dealer: Dealer


@dataclass
class LocalRun:
    """Output of a run in threads, and what each party counted: party name -> phase."""

    output: np.ndarray
    online: dict[str, Count]
    offline: dict[str, Count]

    __repr__ = brief


def connect(plan: Plan, numbers: dict[str, Numbers], *, timeout: float = 60.0) -> Trio:
    """Three parties with in-process channels between them."""
    cs, sc = local_pair("client", "server", timeout=timeout)
    cd, dc = local_pair("client", "dealer", timeout=timeout)
    sd, ds = local_pair("server", "dealer", timeout=timeout)
    return Trio(
        Client(plan, server=cs, dealer=cd),
        Server(plan, Weights(plan, numbers), client=sc, dealer=sd),
        Dealer(plan, client=dc, server=ds),
    )


def run(
    plan: Plan, numbers: dict[str, Numbers], *inputs: np.ndarray, trio: Trio | None = None, **options
) -> list[LocalRun]:
    """Answer each input in turn. The first error of a party is raised."""
    trio = trio or connect(plan, numbers, **options)
    reports: list[PhaseReport] = []
    errors: list[BaseException] = []

    def main(party: Party) -> None:
        try:
            party.setup()
            work(party, inputs, reports.append)
        except BaseException as error:  # noqa: BLE001  (raised in the caller's thread)
            errors.append(error)
            party.close()

    threads = [
        threading.Thread(target=main, args=(party,), daemon=True) for party in (trio.client, trio.server, trio.dealer)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    results = [LocalRun(np.empty(0), {}, {}) for _ in inputs]
    for report in reports:
        result = results[report.number - 1]
        getattr(result, report.phase)[report.party] = report.count
        if report.output is not None:
            result.output = report.output
    return results
