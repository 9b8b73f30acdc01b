"""Random numbers that are drawn while a model is traced: the graph would hold how they fell, for good."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import torch


class GlobalGenerators:
    """The states of the process's random number generators at one moment."""

    def __init__(self):
        self._python = random.getstate()
        self._numpy = np.random.get_state(legacy=True)
        self._torch = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def used(self) -> list[str]:
        """Which of them have been drawn from since."""
        now = GlobalGenerators()
        pairs: dict[str, tuple[tuple, tuple]] = {
            "random": (self._python, now._python),
            "numpy.random": (_plain(self._numpy), _plain(now._numpy)),
            "torch": (_plain((self._torch, *self._cuda)), _plain((now._torch, *now._cuda[: len(self._cuda)]))),
        }
        return [name for name, (before, after) in pairs.items() if before != after]

    def restore(self) -> None:
        """Put them back to this moment."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)


def _plain(state: Iterable) -> tuple[bytes, ...]:
    # Arrays and tensors compare element by element; their bytes compare as one.
    return tuple(np.asarray(part).tobytes() for part in state)
