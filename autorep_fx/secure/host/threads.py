"""The parties as threads of one process, for tests and for looking at messages."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ...text import brief
from ..link.channel import Channel
from ..link.count import Count
from ..link.local import local_pair
from ..makers.maker import Maker
from ..makers.table import DEALT
from ..plan.plan import Plan
from ..plan.server_numbers import Numbers
from .loop import Member, PhaseReport, work
from .members import member


class Members(dict[str, Member]):
    """The parties of one run in this process, by role; each one's online part is an attribute, too: ``.client``."""

    def __getattr__(self, role: str) -> Any:
        try:
            return self[role].party
        except KeyError:
            raise AttributeError(role) from None


@dataclass
class LocalRun:
    """Output of a run in threads, and what each party counted: party name -> phase."""

    output: np.ndarray
    online: dict[str, Count]
    offline: dict[str, Count]

    __repr__ = brief


def connect(plan: Plan, numbers: dict[str, Numbers], *, timeout: float = 60.0, maker: Maker = DEALT) -> Members:
    """The parties with in-process channels between them."""
    links: dict[str, dict[str, Channel]] = {role: {} for role in maker.roles}
    for one, other in combinations(maker.roles, 2):
        links[one][other], links[other][one] = local_pair(one, other, timeout=timeout)
    return Members({role: member(role, plan, maker, links[role], numbers=numbers) for role in maker.roles})


def run(
    plan: Plan, numbers: dict[str, Numbers], *inputs: np.ndarray, members: Members | None = None, **options
) -> list[LocalRun]:
    """Answer each input in turn. The first error of a party is raised."""
    members = members or connect(plan, numbers, **options)
    reports: list[PhaseReport] = []
    errors: list[BaseException] = []

    def main(member: Member) -> None:
        try:
            member.setup()
            work(member, inputs, reports.append)
        except BaseException as error:  # noqa: BLE001  (raised in the caller's thread)
            errors.append(error)
            member.party.close()

    threads = [threading.Thread(target=main, args=(member,), daemon=True) for member in members.values()]
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
