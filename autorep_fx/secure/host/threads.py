"""The three parties as threads of one process, for tests and for looking at messages."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from ..link.count import Count
from ..link.local import local_pair
from ..network import Network
from ..parties.client import Client
from ..parties.dealer import Dealer
from ..parties.party import Party
from ..parties.server import Server
from ..plan.numbers import Numbers
from ..plan.plan import Plan


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


def connect(plan: Plan, numbers: dict[str, Numbers], *, timeout: float = 60.0, network: Network | None = None) -> Trio:
    """Three parties with in-process channels between them."""
    cs, sc = local_pair("client", "server", timeout=timeout, network=network)
    cd, dc = local_pair("client", "dealer", timeout=timeout)
    sd, ds = local_pair("server", "dealer", timeout=timeout)
    return Trio(
        Client(plan, server=cs, dealer=cd),
        Server(plan, numbers, client=sc, dealer=sd),
        Dealer(plan, client=dc, server=ds),
    )


def run(
    plan: Plan, numbers: dict[str, Numbers], *inputs: np.ndarray, trio: Trio | None = None, **options
) -> list[LocalRun]:
    """Answer each input in turn. The first error of a party is raised."""
    trio = trio or connect(plan, numbers, **options)
    results: list[LocalRun] = []
    counts: dict[str, list[Count]] = {"client": [], "server": [], "dealer": []}
    errors: list[BaseException] = []

    def client(party: Client) -> None:
        party.setup()
        for x in inputs:
            party.prepare(len(x))
            counts["client"].append(party.count())
            output = party.infer(x)
            counts["client"].append(party.count())
            results.append(LocalRun(output, {}, {}))
        party.finish()

    def server(party: Server) -> None:
        party.setup()
        while party.prepare():
            counts["server"].append(party.count())
            party.infer()
            counts["server"].append(party.count())

    def dealer(party: Dealer) -> None:
        party.setup()
        while party.serve():
            counts["dealer"] += [party.count(), Count({}, {}, 0)]

    def guarded(main, party: Party) -> None:
        try:
            main(party)
        except BaseException as error:  # noqa: BLE001  (raised in the caller's thread)
            errors.append(error)
            party.close()

    threads = [
        threading.Thread(target=guarded, args=pair, daemon=True)
        for pair in ((client, trio.client), (server, trio.server), (dealer, trio.dealer))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    for i, result in enumerate(results):
        for name, found in counts.items():
            result.offline[name], result.online[name] = found[2 * i], found[2 * i + 1]
    return results
