"""Dealing on a Ray cluster: what an inference is dealt follows from seeds, so any machine of the dealer's can do it."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np

from ..errors import MissingDependency
from ..secure.parties.dealer import Dealer
from ..secure.plan.plan import Plan
from .masks import masks_of

#: What one inference is dealt: to whom, for which step, which arrays; in the order in which they are sent.
Dealt = list[tuple[str, int, list[np.ndarray]]]


class _Kept:
    """A link that keeps what is sent over it."""

    def __init__(self, peer: str, found: Dealt):
        self._peer, self._found = peer, found
        self.bytes_sent = self.messages_sent = 0

    def send(self, step: int, *arrays: np.ndarray) -> None:
        self._found.append((self._peer, step, [array.copy() for array in arrays]))

    def reset(self) -> None: ...


def dealt(plan: Plan, name: str, model: bytes, seeds: dict[str, bytes], seed: bytes, number: int, batch: int) -> Dealt:
    """All that an inference is dealt.

    Args:
        name: of the plan, its digest, under which a process keeps what is laid out.
        model: the seed of ``A``.
        seeds: of client and server.
        seed: the dealer's own.
    """
    found: Dealt = []
    dealer = Dealer(plan, max_batch=batch, client=_Kept("client", found), server=_Kept("server", found))
    dealer.masks, dealer.seeds, dealer.seed, dealer.inference = masks_of(plan, name, model), seeds, seed, number - 1
    dealer.serve(batch)
    return found


class Cluster:
    """Deals by tasks of Ray, each an inference.

    Args:
        address: of a cluster that runs; "local" starts one here, which ends with this process.
        workers: tasks at once of one that is started here; None: as many as there are cores.

    Raises:
        MissingDependency: Ray is not installed.
    """

    def __init__(self, address: str, workers: int | None = None):
        try:
            import ray
        except ImportError as error:
            raise MissingDependency(
                "dealing on a cluster needs the package ray: pip install 'autorep-fx[ray]'"
            ) from error
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        self._ray = ray
        here = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False, **here)
        self._plans: dict[str, Any] = {}
        self._task = ray.remote(num_cpus=1)(_task)

    def deal(self, plan: Plan, name: str, *rest: Any) -> Dealt:
        """As :func:`dealt`, on whichever machine is free."""
        if name not in self._plans:
            self._plans[name] = self._ray.put(plan)
        return self._ray.get(self._task.remote(self._plans[name], name, *rest))

    def close(self) -> None:
        self._ray.shutdown()


def _task(*arguments: Any) -> Dealt:
    from autorep_fx.service import bulk  # whose masks outlive a task

    return bulk.dealt(*arguments)
