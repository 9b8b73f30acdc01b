"""``A`` of the models that a process deals for, laid out once for all their sessions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from ..secure.makers.dealt.blinded_weights import pack_masks
from ..secure.plan.plan import Plan

#: Models that are kept.
_MODELS = 4

_lock = threading.Lock()
_kept: OrderedDict[tuple[str, bytes], dict[str, Any]] = OrderedDict()


def masks_of(plan: Plan, name: str, model: bytes) -> dict[str, Any]:
    """As :func:`~.blinded_weights.pack_masks`. name: the plan's own; model: the seed of ``A``."""
    key = name, model
    with _lock:
        if key not in _kept:
            _kept[key] = pack_masks(plan, model)
            while len(_kept) > _MODELS:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return _kept[key]
