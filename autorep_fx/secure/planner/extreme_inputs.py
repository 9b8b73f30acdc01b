"""Pictures at the ends of the input range: what drives inner values furthest is seldom among the examples.

One colour, halves, stripes, checkerboards and coarse and fine noise, each of nothing but the smallest and the largest
value of every channel. Compiling takes ranges from them as well, so that such inputs are answered, too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..plan.input_range import InputRange
from ..plan.input_ranges import InputRanges

#: Random patterns of each kind.
_RANDOM = 3


def probes(within: InputRange, shape: tuple[int, ...]) -> np.ndarray:
    """(M, *shape) float64; the same for the same arguments. Of several inputs, rows of pictures of each."""
    if isinstance(within, InputRanges):
        each = [probes(part, within.shapes[name]) for name, part in within.parts.items()]
        # The ends of one beside the other ends of the next.
        order = np.arange(max(map(len, each)))
        rows = [found[(order + i) % len(found)].reshape(len(order), -1) for i, found in enumerate(each)]
        return np.concatenate(rows, 1)
    rng = np.random.default_rng(0)
    patterns = _pictures(shape, rng) if len(shape) >= 3 else _vectors(shape, rng)
    by_channel = (-1, *(1,) * (len(shape) - 1)) if shape else ()
    return np.where(np.stack(patterns), within.high.reshape(by_channel), within.low.reshape(by_channel))


def of_range(within: InputRange, examples: Tensor, most: int) -> Tensor:
    """Noise of the whole range and some of the pictures, in turn, those of which a client would send: (M, *shape), M at
    most so many."""
    shape = tuple(examples.shape[1:])
    by_channel = (-1, *(1,) * (len(shape) - 1)) if shape else ()
    low, high = (end.reshape(by_channel) for end in (within.low, within.high))
    pictures = probes(within, shape)
    if not within.statistics:  # then it would send them all
        pictures = pictures[: (most + 1) // 2]
    noise = low + (high - low) * np.random.default_rng(0).random(pictures.shape)
    both = np.stack([noise, pictures], 1).reshape(-1, *shape)
    return torch.from_numpy((both[within.typical(both)] if within.statistics else both)[:most])


def _constants(shape: tuple[int, ...]) -> list[np.ndarray]:
    return [np.zeros(shape, bool), np.ones(shape, bool)]


def _vectors(shape: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    return _constants(shape) + [rng.random(shape) < 0.5 for _ in range(4 * _RANDOM)]


def _pictures(shape: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    channels, (h, w) = shape[0], shape[-2:]
    rows, columns = np.indices((h, w))
    flat = [rows < h // 2, columns < w // 2]
    for period in (1, 2, 4):
        stripes = rows // period % 2 == 0, columns // period % 2 == 0
        flat += [*stripes, stripes[0] ^ stripes[1], ~(stripes[0] ^ stripes[1])]
    found = _constants(shape) + [np.broadcast_to(pattern, shape) for pattern in flat]
    for c in range(channels if 1 < channels <= 4 else 0):
        one = np.zeros(shape, bool)
        one[c] = True
        found += [one, ~one]
    for size in (1, 2, 4):
        for _ in range(_RANDOM):
            coarse = rng.random((*shape[:-2], -(-h // size), -(-w // size))) < 0.5
            found.append(coarse.repeat(size, -2).repeat(size, -1)[..., :h, :w])
    return found
