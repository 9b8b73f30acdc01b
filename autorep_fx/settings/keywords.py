"""The options of settings.py as keywords, for type checkers and editors: names and types, nothing more (options.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from ..secure.link.network import Network
from .kinds import AtLeastOne, Count, Device, Folder, Fraction, Function, NotNegative, Positive
from .settings import Best, Degree, Fit, Granularity, Initial, Method, NetworkName, Softmax


class _Fitted(TypedDict, total=False):
    growth: Positive | None
    device: Device | None
    loss: Function | None
    progress: bool | None


class _Limited(TypedDict, total=False):
    relu_budget: Count | None
    latency_ms: Positive | None
    offline_mb: Positive | None
    total_ms: Positive | None
    dealer: bool
    network: Network | NetworkName
    granularity: Granularity


class _Trained(_Fitted, total=False):
    lr: NotNegative
    warmup: Fraction
    coeff_lr: NotNegative | None
    coeff_clip: NotNegative
    growth_weight: NotNegative
    grad_clip: Positive | None
    temperature: Positive
    metric: Function | None
    keep_best: Best | None
    feature_weight: NotNegative
    mixed: bool | None
    compile: bool
    seed: int
    checkpoint_dir: Folder | None
    resume: bool
    tensorboard: Folder | None


class TransformKeywords(_Fitted, _Limited, total=False):
    degree: Degree
    fit: Fit
    reconstruct: bool
    softmax: Softmax


class FinetuneKeywords(_Trained, total=False):
    epochs: AtLeastOne
    ease_in: Fraction


class SearchKeywords(_Trained, _Limited, total=False):
    epochs: AtLeastOne
    method: Method
    penalty: NotNegative | None
    initial: Initial
    cost: Mapping[str, Positive] | None
    gate_lr: NotNegative | None
    mask_phase: Fraction
    refit_phase: Fraction
