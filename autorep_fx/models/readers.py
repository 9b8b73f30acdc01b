"""Data sets from local files; nothing is fetched. Each reader returns (train, test)."""

from __future__ import annotations

import gzip
import math
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from ..errors import FormatError
from . import plain_pickle
from .loader import Images

#: Bytes of one file, unpacked; the training batch of CIFAR-100, the largest that is read, has 155 million.
_LARGEST = 1 << 28

Split = tuple[Images, Images]


def digits(test: int = 360, size: int = 8) -> Split:
    """scikit-learn's digits: 1,797 real 8x8 grey images of ten classes, the last ``test`` of them for testing.

    ``size`` of 16 or 32 repeats pixels.
    """
    from sklearn.datasets import load_digits

    if size % 8:
        raise ValueError(f"size must be a multiple of 8, got {size}")
    data = load_digits()
    pixels = torch.from_numpy(np.round(data.images * (255 / 16)).astype(np.uint8))[:, None]
    pixels = pixels.repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3)
    return _split(pixels, torch.from_numpy(data.target), len(pixels) - test, 10)


def fashion_mnist(folder: str | os.PathLike, size: int = 32) -> Split:
    """Fashion-MNIST or MNIST from its four IDX files (plain or .gz), padded with zeros to ``size`` (28 to 64).

    Raises:
        FileNotFoundError: names the file that is missing.
        FormatError: names the file that is truncated or not IDX.
    """
    if not 28 <= size <= 64 or size % 2:
        raise ValueError(f"size must be even, from 28 to 64, got {size}")
    parts = []
    for name in ("train", "t10k"):
        pixels = _read_idx(Path(folder), f"{name}-images-idx3-ubyte", 3)
        labels = _read_idx(Path(folder), f"{name}-labels-idx1-ubyte", 1)
        if len(pixels) != len(labels):
            raise FormatError(f"{folder}: {name} has {len(pixels)} images and {len(labels)} labels")
        edge = (size - 28) // 2
        pixels = np.pad(pixels, ((0, 0), (edge, edge), (edge, edge)))
        parts.append((torch.from_numpy(pixels)[:, None], torch.from_numpy(labels.astype(np.int64))))
    (train_x, train_y), (test_x, test_y) = parts
    return _split(torch.cat([train_x, test_x]), torch.cat([train_y, test_y]), len(train_x), 10)


def glyphs(folder: str | os.PathLike) -> Split:
    """Letters and digits of many fonts, 32x32 and grey, in 62 classes, from the glyphs.npz that ``recipes/glyphs.py``
    makes; no family of fonts is in both parts.

    Raises:
        FileNotFoundError: names the file.
        FormatError: it is damaged or another file.
    """
    path = Path(folder) / "glyphs.npz"
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}; recipes/glyphs.py makes it")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _LARGEST:
            raise FormatError(f"{path} announces {size:,} bytes, more than the {_LARGEST:,} that are read")
        with np.load(path, allow_pickle=False) as file:
            pixels, labels, test = (file[name] for name in ("pixels", "labels", "test"))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(f"{path} is not what recipes/glyphs.py writes: {error}") from error
    n = len(labels) if labels.ndim else 0
    fits = pixels.dtype == labels.dtype == np.uint8 and test.dtype == bool
    if not (fits and pixels.shape == (n, 32, 32) and test.shape == (n,) and n and labels.max() < 62):
        raise FormatError(f"{path} is not what recipes/glyphs.py writes: arrays of other types or shapes")
    order = np.argsort(test, kind="stable")
    return _split(torch.from_numpy(pixels[order])[:, None], torch.from_numpy(labels[order].astype(np.int64)),
                  int((~test).sum()), 62)  # fmt: skip


def cifar(folder: str | os.PathLike) -> Split:
    """CIFAR-10 or CIFAR-100 from the folder of the python archive (``cifar-10-batches-py`` or ``cifar-100-python``).

    The batches are pickles: they are read without running them (:mod:`~autorep_fx.models.plain_pickle`).

    Raises:
        FileNotFoundError: names the file that is missing.
        FormatError: names the file that is truncated or holds something else.
    """
    folder = Path(folder)
    if (folder / "train").exists():
        train, test, label, classes = ["train"], ["test"], b"fine_labels", 100
    else:
        train, test, label, classes = [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"], b"labels", 10
    parts = [_read_cifar(folder / name, label, classes) for name in (*train, *test)]
    pixels, labels = (torch.cat([p[i] for p in parts]) for i in (0, 1))
    return _split(pixels, labels, sum(len(p[1]) for p in parts[: len(train)]), classes)


def tiny_imagenet(folder: str | os.PathLike) -> Split:
    """Tiny-ImageNet from its folder: ``train/<class>/images/*.JPEG`` and ``val`` with ``val_annotations.txt``.

    Raises:
        FileNotFoundError: names what is missing.
        FormatError: names the image or line that cannot be read.
    """
    from tqdm.auto import tqdm

    folder = Path(folder)
    names = sorted(p.name for p in (folder / "train").iterdir() if p.is_dir()) if (folder / "train").is_dir() else []
    if not names:
        raise FileNotFoundError(f"no class folders in {folder / 'train'}")
    number = {name: i for i, name in enumerate(names)}
    train = [(path, number[name]) for name in names for path in sorted((folder / "train" / name).rglob("*.JPEG"))]
    test = []
    for i, line in enumerate(_read_text(folder / "val" / "val_annotations.txt").splitlines()):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in number:
            raise FormatError(f"{folder / 'val' / 'val_annotations.txt'} line {i + 1} names no known class: {line!r}")
        test.append((folder / "val" / "images" / fields[0], number[fields[1]]))
    everything = train + test
    pixels = torch.empty(len(everything), 3, 64, 64, dtype=torch.uint8)
    for i, (path, _) in enumerate(tqdm(everything, "read images", disable=None, leave=False)):
        pixels[i] = _read_jpeg(path)
    return _split(pixels, torch.tensor([label for _, label in everything]), len(train), len(names))


def _split(pixels: torch.Tensor, labels: torch.Tensor, train: int, classes: int) -> Split:
    if not train:
        raise FormatError("the data set has no images to train on")
    seen = pixels[:train].double() / 255
    mean, std = (tuple(v.tolist()) for v in (seen.mean((0, 2, 3)), seen.std((0, 2, 3))))
    images = Images(pixels, labels, mean, std, classes)
    return images[:train], images[train:]


def _read_idx(folder: Path, name: str, dims: int) -> np.ndarray:
    path = next((p for p in (folder / f"{name}.gz", folder / name) if p.exists()), None)
    if path is None:
        raise FileNotFoundError(f"neither {name} nor {name}.gz is in {folder}")
    head = 4 + 4 * dims
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(head)
            if len(start) < head or start[:4] != bytes([0, 0, 8, dims]):
                raise FormatError(f"{path} is not an IDX file of unsigned bytes with {dims} dimensions")
            shape = tuple(np.frombuffer(start, ">u4", dims, 4).tolist())
            size = math.prod(shape)
            if size > _LARGEST:
                raise FormatError(f"{path} announces {shape}, more than the {_LARGEST:,} bytes that are read")
            body = file.read(size + 1)  # no more, whatever a small compressed file may unpack to
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path} is truncated or not gzip: {error}") from error
    if len(body) != size or (dims == 3 and shape[1:] != (28, 28)):
        holds = "more" if len(body) > size else f"{len(body)} bytes"
        raise FormatError(f"{path} announces {shape} and holds {holds}; it is truncated or another data set")
    return np.frombuffer(body, np.uint8).reshape(shape).copy()


def _read_cifar(path: Path, label: bytes, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if path.stat().st_size > _LARGEST:
        raise FormatError(f"{path} has {path.stat().st_size:,} bytes, more than the {_LARGEST:,} that are read")
    try:
        batch = plain_pickle.loads(path.read_bytes())
        pixels, labels = (batch.get(key) for key in (b"data", label)) if isinstance(batch, dict) else (None, None)
        if not isinstance(pixels, np.ndarray) or not isinstance(labels, list):
            raise ValueError(f"it has no array 'data' and list '{label.decode()}'")
        if pixels.shape != (len(labels), 3072):
            raise ValueError(f"data of shape {pixels.shape} and {len(labels)} labels")
        if not all(type(n) is int and 0 <= n < classes for n in labels):
            raise ValueError(f"labels that are not whole numbers below {classes}")
    except ValueError as error:
        raise FormatError(f"{path} is truncated or not a CIFAR batch: {error}") from error
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32).copy()), torch.tensor(labels)


def _read_text(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if path.stat().st_size > _LARGEST:
        raise FormatError(f"{path} has {path.stat().st_size:,} bytes, more than the {_LARGEST:,} that are read")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not text: {error}") from error


def _read_jpeg(path: Path) -> torch.Tensor:
    from PIL import Image

    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with Image.open(path) as image:  # reads the header alone
            if image.size != (64, 64):
                raise FormatError(f"{path} is {image.width}x{image.height}, not 64x64")
            pixels = np.asarray(image.convert("RGB"))
    except FormatError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path} is not a readable image: {error}") from error
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)
