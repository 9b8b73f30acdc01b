"""What a provider publishes: the public part of a program, how a picture becomes its input, and the seed of ``A``."""

from __future__ import annotations

import hashlib
import json
import math
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..secure import files
from ..secure.plan.plan import Plan
from ..secure.plan.server_numbers import Numbers
from ..secure.program.checks import Check, check_attrs, whole
from ..secure.program.outputs import Form
from ..secure.program.step_json import LONGEST, digest, loads
from ..text import brief
from .private import make_private, private_folder

_INPUT = "input.json"


#: Largest side that a picture is scaled to, and most pixels of it; a label's longest text, and most labels.
_SIDE, _PIXELS, _LABEL, _LABELS = 2**13, 2**26, 1000, 2**16


def _in(low: float, high: float) -> Check:
    def holds(v: Any, _: Any) -> bool:
        return type(v) is list and len(v) in (1, 3) and all(type(n) in (int, float) and low <= n <= high for n in v)

    return Check(f"1 or 3 numbers from {low:g} to {high:g}", holds)


def _is_label(v: Any) -> bool:
    """Of one line: it is printed on a client's terminal."""
    return type(v) is str and len(v) <= _LABEL and not any(unicodedata.category(c) == "Cc" and c != "\t" for c in v)


_ENTRIES = {
    "size": whole(1, _SIDE),
    "mean": _in(-1e6, 1e6),
    "std": _in(1e-6, 1e6),
    "labels": Check(
        f"up to {_LABELS} texts of a line each",
        lambda v, _: type(v) is list and len(v) <= _LABELS and all(map(_is_label, v)),
    ),
}


@dataclass(frozen=True)
class Pictures:
    """How a picture becomes an input: scaled so that its shorter side is ``size`` and cut to the middle, values from 0
    to 1, less ``mean``, by ``std`` (of each channel; one number for all).

    Attributes:
        labels: names of the classes, where they have any.

    Raises:
        FormatError: an entry is of another kind or out of range; names it.
    """

    size: int
    mean: list[float]
    std: list[float]
    labels: list[str]

    __repr__ = brief

    def __post_init__(self):
        check_attrs(vars(self), _ENTRIES, {}, "the description of pictures")

    def read(self, path: str | os.PathLike, shape: tuple[int, ...]) -> np.ndarray:
        """A picture as an input of this shape (C, H, W), float32.

        Raises:
            ValueError: it is no picture, or the program takes none; names it.
        """
        from PIL import Image, UnidentifiedImageError

        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(f"{path}: a picture is no input of shape {shape}; give an .npy file")
        mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (self.mean, self.std))
        if max(len(mean), len(std)) > shape[0]:
            raise ValueError(f"{path}: {_INPUT} has means of other channels than an input of shape {shape}")
        try:
            with Image.open(path) as opened:
                image = opened.convert("L" if shape[0] == 1 else "RGB")
        except UnidentifiedImageError:
            raise ValueError(f"{path} is no picture") from None
        except Exception as error:  # whatever a decoder makes of a damaged file
            raise ValueError(f"{path} is no picture that can be read: {error}") from error
        scale = max(self.size, *shape[1:]) / min(image.size)
        sides = [max(round(side * scale), 1) for side in image.size]
        if math.prod(sides) > _PIXELS:
            text = f"{path} would be scaled to {sides[0]}x{sides[1]}, and {_PIXELS} pixels are allowed"
            raise ValueError(f"{text}; give one that is less narrow")
        image = image.resize(sides, Image.Resampling.BILINEAR)
        left, top = ((side - wanted) // 2 for side, wanted in zip(image.size, (shape[2], shape[1])))
        image = image.crop((left, top, left + shape[2], top + shape[1]))
        x = np.asarray(image, np.float32).reshape(*image.size[::-1], -1).transpose(2, 0, 1) / 255
        return (x - mean) / std

    def save(self, folder: str | os.PathLike) -> None:
        files.write(Path(folder) / _INPUT, json.dumps(asdict(self)).encode(), 0o666)

    @staticmethod
    def load(folder: str | os.PathLike) -> Pictures:
        """Of a program; values from 0 to 1 as they are, if it says nothing.

        Raises:
            FormatError: it is damaged; names the file and the entry.
        """
        path = Path(folder) / _INPUT
        try:
            with path.open("rb") as file:
                text = file.read(LONGEST + 1)
        except FileNotFoundError:
            return Pictures(1, [0.0], [1.0], [])
        except OSError as error:
            raise FormatError(f"{path} cannot be read: {error}") from error
        found = loads(text, str(path))
        try:
            check_attrs(found, _ENTRIES, {}, "the description of pictures")
        except FormatError as error:
            raise FormatError(f"{path} is damaged: {error}; publish it again, or fetch it again") from None
        return Pictures(**found)


def terms(form: Form | None, pictures: Pictures | None) -> dict[str, str]:
    """What client and server must have alike beside the plan, since answers depend on it: a digest each of the output's
    form and of ``input.json``; of that None where a client has no folder of the program.
    """
    found = {"form": digest(form).hex()}
    if pictures is not None:
        numbers = {name: [*map(float, getattr(pictures, name))] for name in ("mean", "std")}
        found["pictures"] = digest({**asdict(pictures), **numbers}).hex()
    return found


def publish(folder: str | os.PathLike, out: str | os.PathLike) -> None:
    """Copy what client and dealer may have to another folder: no weights, no seeds.

    Raises:
        FormatError: no program; or ``out`` has a server's part.
    """
    files.publish(folder, out)
    if (Path(folder) / _INPUT).exists():
        Pictures.load(folder).save(out)
    else:  # what a program that was published there before had
        (Path(out) / _INPUT).unlink(missing_ok=True)


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
