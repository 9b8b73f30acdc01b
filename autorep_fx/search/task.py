"""What a run is trained by, and what it reports: labels and their accuracy, or what a user says."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..graph.nested import floats, mapped
from ..graph.told import Loss, Told
from ..settings import FinetuneSettings, SearchSettings
from .features import feature_loss
from .loaders import check_classes
from .objective import like, logits_of, objective, softened

_HALVES = (torch.bfloat16, torch.float16)


class Task:
    """The loss and the metric of a run.

    Attributes:
        loss: what was told, or None: cross-entropy of rows of scores and class numbers.
        metric: what was told; None is the accuracy, or the loss that was told.

    Raises:
        ValueError: a name of no function.
    """

    def __init__(self, settings: SearchSettings | FinetuneSettings):
        self.loss = None if settings.loss is None else Loss(settings.loss)
        self.metric = self.loss if settings.metric is None else Told(settings.metric, "metric")
        self.temperature = settings.temperature

    @property
    def classifies(self) -> bool:
        """Rows of scores and class numbers, checked, whose accuracy is known."""
        return self.loss is None

    def objective(self, output: Any, targets: Any, teacher: Any, where: str) -> Tensor:
        """The loss of a batch, and the distillation term where ``teacher`` is what one returned.

        Raises:
            ValueError: targets or outputs that do not fit, or a teacher that returns something else.
        """
        if self.loss is None:
            check_classes(targets, output, where)
            teacher = None if teacher is None else logits_of(teacher, output)
            return objective(output, targets, teacher, self.temperature)
        output = mapped(lambda part: part.float() if part.dtype in _HALVES else part, output)
        loss = self.loss(output, targets, where)
        if teacher is None:
            return loss
        teacher = like(teacher, output)
        if self.loss.function is F.cross_entropy or isinstance(self.loss.function, nn.CrossEntropyLoss):
            return loss + softened(output, teacher, self.temperature)
        return loss + feature_loss(floats(output), floats(teacher))

    @torch.no_grad()
    def measured(self, output: Any, targets: Any, where: str) -> float:
        """The metric of a batch.

        Raises:
            ValueError: it gives no number, or does not take these.
        """
        assert self.metric is not None
        return self.metric.number(mapped(Tensor.detach, output), targets, where)
