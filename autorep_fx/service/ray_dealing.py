"""Dealing on a Ray cluster: what an inference is dealt follows from seeds, so any machine of the dealer's can do it."""

from __future__ import annotations

import logging
import os
from typing import Any

from ..errors import MissingDependency
from ..secure.makers.dealt.dealer import Message, deal
from ..secure.makers.dealt.seeds import Seeds
from ..secure.plan.plan import Plan
from .mask_cache import masks_of


def dealt(plan: Plan, name: str, model: bytes, seeds: Seeds, number: int, batch: int) -> list[Message]:
    """All that an inference is dealt (:func:`~autorep_fx.secure.makers.dealt.dealer.deal`).

    Args:
        name: of the plan, its digest, under which a process keeps what is laid out.
        model: the seed of ``A``.
    """
    return list(deal(plan, masks_of(plan, name, model), seeds, number, batch))


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

    def deal(self, plan: Plan, name: str, *rest: Any) -> list[Message]:
        """As :func:`dealt`, on whichever machine is free."""
        if name not in self._plans:
            self._plans[name] = self._ray.put(plan)
        return self._ray.get(self._task.remote(self._plans[name], name, *rest))

    def close(self) -> None:
        self._ray.shutdown()


def _task(*arguments: Any) -> list[Message]:
    from autorep_fx.service import ray_dealing  # whose masks outlive a task

    return ray_dealing.dealt(*arguments)
