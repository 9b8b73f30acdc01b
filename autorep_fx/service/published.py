"""What a provider publishes: the public part of a program, how a picture becomes its input, and the seed of ``A``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..errors import FormatError
from ..secure import files
from ..secure.plan.plan import Plan
from ..secure.plan.server_numbers import Numbers
from .private import make_private, private_folder

_INPUT = "input.json"


@dataclass(frozen=True)
class Pictures:
    """How a picture becomes an input: scaled so that its shorter side is ``size`` and cut to the middle, values from 0
    to 1, less ``mean``, by ``std`` (of each channel; one number for all).

    Attributes:
        labels: names of the classes, where they have any.
    """

    size: int
    mean: list[float]
    std: list[float]
    labels: list[str]

    def read(self, path: str | os.PathLike, shape: tuple[int, ...]) -> np.ndarray:
        """A picture as an input of this shape (C, H, W), float32.

        Raises:
            ValueError: it is no picture, or the program takes none; names it.
        """
        from PIL import Image, UnidentifiedImageError

        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(f"{path}: a picture is no input of shape {shape}; give an .npy file")
        try:
            with Image.open(path) as opened:
                image = opened.convert("L" if shape[0] == 1 else "RGB")
        except UnidentifiedImageError:
            raise ValueError(f"{path} is no picture") from None
        scale = max(self.size, *shape[1:]) / min(image.size)
        image = image.resize([max(round(side * scale), 1) for side in image.size], Image.Resampling.BILINEAR)
        left, top = ((side - wanted) // 2 for side, wanted in zip(image.size, (shape[2], shape[1])))
        image = image.crop((left, top, left + shape[2], top + shape[1]))
        x = np.asarray(image, np.float32).reshape(*image.size[::-1], -1).transpose(2, 0, 1) / 255
        mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (self.mean, self.std))
        return (x - mean) / std

    def save(self, folder: str | os.PathLike) -> None:
        (Path(folder) / _INPUT).write_text(json.dumps(asdict(self)))

    @staticmethod
    def load(folder: str | os.PathLike) -> Pictures:
        """Of a program; values from 0 to 1 as they are, if it says nothing.

        Raises:
            FormatError: it is damaged.
        """
        path = Path(folder) / _INPUT
        if not path.exists():
            return Pictures(1, [0.0], [1.0], [])
        try:
            found = Pictures(**json.loads(path.read_text()))
            numbers = all(isinstance(v, (int, float)) for v in (found.size, *found.mean, *found.std))
            if not numbers or not all(isinstance(v, str) for v in found.labels):
                raise TypeError
        except (ValueError, TypeError):
            raise FormatError(f"{path} is damaged") from None
        return found


def publish(folder: str | os.PathLike, out: str | os.PathLike) -> None:
    """Copy what client and dealer may have to another folder: no weights, no seeds.

    Raises:
        FormatError: no program; or ``out`` has a server's part.
    """
    files.publish(folder, out)
    if (Path(folder) / _INPUT).exists():
        Pictures.load(folder).save(out)


def seed_of(plan: Plan, numbers: Mapping[str, Numbers], state: str | os.PathLike | None) -> bytes:
    """The seed of a program's ``A``: drawn when the program is first served from a folder, and kept there, so that
    clients need what blinds the weights once. Only its owner may read it. Other weights have another seed: one pad
    hides one message.

    Raises:
        FormatError: the file is damaged, or somebody else's.
    """
    if state is None:
        return os.urandom(16)
    found = hashlib.sha256(plan.digest())
    for name in sorted(numbers):
        for array in (numbers[name].weight, numbers[name].constant):
            found.update(name.encode() + b"\0" + (b"" if array is None else np.ascontiguousarray(array).tobytes()))
    path = Path(state) / f"{found.hexdigest()[:32]}.seed"
    private_folder(path.parent)
    seed, partial = os.urandom(16), path.with_suffix(f".{os.urandom(4).hex()}")
    try:
        with files.create(partial) as file:
            file.write(seed)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # the first of several replicas decides
    except FileExistsError:
        make_private(path)
        seed = path.read_bytes()
    finally:
        partial.unlink(missing_ok=True)
    if len(seed) != 16:
        raise FormatError(f"{path} is damaged: a seed has 16 bytes")
    return seed
