"""What somebody asks about, checked, and as numbers: an array for one input, rows side by side for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .checks import is_tensor
from .program import check_array, check_batch
from .shapes import Shape


def packed(given: Sequence[Any], inputs: Mapping[str, Shape], *, arrays: bool = False) -> np.ndarray:
    """The values of a batch of every input in float64, which NumPy has beside every type that torch has.

    arrays: whether NumPy's are inputs, too.

    Raises:
        ValueError: not as many inputs, or one that is no batch of its shape; names it.
    """
    if len(given) != len(inputs):
        many = f"{len(inputs)} input{'s' if len(inputs) > 1 else ''}"
        asked = f"run({', '.join(inputs)})"
        raise ValueError(f"this program takes {many} ({', '.join(inputs)}), and got {len(given)}: {asked}")
    found = []
    for (name, shape), x in zip(inputs.items(), given):
        named = name if len(inputs) > 1 else "x"
        if arrays and not is_tensor(x):
            check_array(x, shape, named)
            found.append(x.astype(np.float64))
        else:
            check_batch(x, shape, named)
            found.append(_numbers(x))
        if len(x) != len(given[0]):
            raise ValueError(f"{named} has {len(x)} samples, and {next(iter(inputs))} has {len(given[0])}")
    return found[0] if len(found) == 1 else np.concatenate([x.reshape(len(x), -1) for x in found], 1)


def _numbers(x: Any) -> np.ndarray:
    import torch  # whoever has a tensor has it

    return x.detach().to("cpu", torch.float64).numpy()
