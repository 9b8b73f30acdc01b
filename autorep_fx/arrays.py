"""Arrays that a command is given, as .npy files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def read_array(path: Path) -> np.ndarray:
    """An array of a file, without pickle.

    Raises:
        FileNotFoundError, ValueError: there is none; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such array: {path}")
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError) as error:
        why = "it holds objects, or something else" if "pickle" in str(error) else str(error)
        raise ValueError(f"{path} is no array of NumPy: {why}; np.save(path, array) writes one of numbers") from None
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path} has several arrays; give an .npy file")
    return found


def read_tensor(path: Path) -> Tensor:
    """The same as a tensor, in float32."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(read_array(path), np.float32))
