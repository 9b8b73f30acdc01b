"""What a run is told: one home for the defaults of :func:`autorep_fx.search` and :func:`autorep_fx.finetune`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from ..hybrid.budget import check_granularity
from ..hybrid.fitting import Fitting
from ..secure.link.network import Network
from ..text import brief
from .methods import METHODS

STARTS = ("score", "uniform")


@dataclass(frozen=True)
class Settings:
    """Every argument that is neither a model nor data; each is documented at :func:`autorep_fx.search`.

    The second group is about how masks move; a run with fixed masks leaves it as it is.
    """

    epochs: int

    relu_budget: float | None = None
    latency_ms: float | None = None
    offline_mb: float | None = None
    network: Network | str = "lan"
    method: str = "autorep"
    granularity: str = "element"
    penalty: float | None = None
    initial: str = "score"
    cost: Mapping[str, float] | None = None
    gate_lr: float | None = None
    mask_phase: float = 0.6
    refit_phase: float = 0.3

    lr: float = 1e-3
    warmup: float = 0.05
    ease_in: float = 0.05
    coeff_lr: float | None = None
    coeff_clip: float = 1.0
    growth: float | None = Fitting.growth
    growth_weight: float = 0.1
    grad_clip: float | None = 1.0
    temperature: float = 4.0
    feature_weight: float = 0.0
    mixed: bool | None = None
    compile: bool = False
    seed: int = 0

    checkpoint_dir: str | os.PathLike | None = None
    resume: bool = False
    tensorboard: str | os.PathLike | None = None
    progress: bool | None = None

    __repr__ = brief

    def __post_init__(self):
        for name, known in (("method", METHODS), ("initial", STARTS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        check_granularity(self.granularity)
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        for name in ("warmup", "ease_in", "mask_phase", "refit_phase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a fraction from 0 to 1, got {getattr(self, name)}")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Those of a call's arguments that are settings."""
        return cls(**{field.name: arguments[field.name] for field in fields(cls) if field.name in arguments})

    def deciding(self) -> dict[str, Any]:
        """Those that decide what a run ends with."""
        aside = ("checkpoint_dir", "resume", "tensorboard", "progress")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in aside}

    @property
    def moves_masks(self) -> bool:
        return any(limit is not None for limit in (self.relu_budget, self.latency_ms, self.offline_mb))

    @property
    def fitting(self) -> Fitting:
        """How the polynomials are fitted, before the run and again in it."""
        return Fitting(growth=self.growth)
