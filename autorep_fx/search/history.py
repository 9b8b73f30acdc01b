"""What a run of training did, or why it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import AutorepError
from ..text import brief

#: What is called after an epoch, with what it came to.
OnEpoch = Callable[[dict[str, Any]], object]


class SearchError(AutorepError, RuntimeError):
    """A run stopped because its loss is no longer finite."""


@dataclass
class History:
    """What a run did, an entry an epoch.

    Attributes:
        loss, accuracy: of the training batches (accuracy as a fraction, empty with a ``loss`` that was told).
        val_accuracy: fraction, empty without a validation loader.
        metric, val_metric: what ``metric`` says, or the ``loss`` that was told; empty where nothing was.
        best: with ``keep_best``, the epoch (from 1) whose weights are the result.
        relus: kept elements per sample at the end of the epoch.
        missed: how many positions above the budget the schedule ended, before the last ones were settled.
        predicted: of a search under limits, what the plan of its result predicts
            (:class:`~autorep_fx.forms.prices.Predicted`).
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    relus: list[int] = field(default_factory=list)
    missed: int = 0
    predicted: dict | None = None
    metric: list[float] = field(default_factory=list)
    val_metric: list[float] = field(default_factory=list)
    best: int | None = None

    __repr__ = brief
