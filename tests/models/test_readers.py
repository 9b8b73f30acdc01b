"""Readers on small archives in the real formats, made here; and what they say of broken ones."""

import gzip
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from autorep_fx.errors import FormatError
from autorep_fx.models import ImageLoader, cifar, digits, fashion_mnist, tiny_imagenet


def _idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("train", 20), ("t10k", 6)):
        images, labels = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(images)))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(_idx(labels))
    return tmp_path


def test_fashion_mnist(fashion):
    train, test = fashion_mnist(fashion)
    assert train.pixels.shape == (20, 1, 32, 32) and len(test) == 6 and train.labels.dtype == torch.int64
    assert (train.pixels[:, :, :2] == 0).all() and train.pixels[:, :, 2:30, 2:30].float().mean() > 100
    normalized = train.normalized()
    assert abs(normalized.mean()) < 1e-5 and abs(normalized.std() - 1) < 1e-3


def test_fashion_mnist_names_a_broken_file(fashion):
    path = fashion / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match="train-images-idx3-ubyte.gz is truncated"):
        fashion_mnist(fashion)
    path.write_bytes(gzip.compress(_idx(np.zeros((20, 28, 28), np.uint8))[:-5]))
    with pytest.raises(FormatError, match="announces"):
        fashion_mnist(fashion)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="train-images"):
        fashion_mnist(fashion)
    with pytest.raises(ValueError, match="size"):
        fashion_mnist(fashion, size=20)


def _cifar(folder, label, names, n=4, classes=10):
    folder.mkdir()
    for name in names:
        data = np.random.default_rng(0).integers(0, 256, (n, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({b"data": data, label: [i % classes for i in range(n)]}, protocol=2))
    return folder


def test_cifar(tmp_path):
    ten = _cifar(tmp_path / "ten", b"labels", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"])
    train, test = cifar(ten)
    assert train.pixels.shape == (20, 3, 32, 32) and len(test) == 4 and train.classes == 10
    train, test = cifar(_cifar(tmp_path / "hundred", b"fine_labels", ["train", "test"], classes=100))
    assert len(train) == len(test) == 4 and train.classes == 100


def test_cifar_refuses_broken_and_hostile_files(tmp_path):
    folder = _cifar(tmp_path / "ten", b"labels", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"])
    (folder / "data_batch_3").write_bytes((folder / "data_batch_3").read_bytes()[:500])
    with pytest.raises(FormatError, match="data_batch_3"):
        cifar(folder)

    class Hostile:
        def __reduce__(self):
            return (print, ("run",))

    (folder / "data_batch_3").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(FormatError, match="asks for builtins.print"):
        cifar(folder)
    (folder / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_3"):
        cifar(folder)


def test_tiny_imagenet(tmp_path):
    for name in ("n01", "n02"):
        (tmp_path / "train" / name / "images").mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (64, 64), (i, 0, 0)).save(tmp_path / "train" / name / "images" / f"{name}_{i}.JPEG")
    (tmp_path / "val" / "images").mkdir(parents=True)
    Image.new("L", (64, 64), 7).save(tmp_path / "val" / "images" / "val_0.JPEG")
    notes = tmp_path / "val" / "val_annotations.txt"
    notes.write_text("val_0.JPEG\tn02\t0\t0\t62\t62\n")
    train, test = tiny_imagenet(tmp_path)
    assert train.pixels.shape == (6, 3, 64, 64) and train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.labels.tolist() == [1] and train.classes == 2
    notes.write_text("val_0.JPEG\tn03\n")
    with pytest.raises(FormatError, match="line 1"):
        tiny_imagenet(tmp_path)
    (tmp_path / "train" / "n01" / "images" / "n01_0.JPEG").write_bytes(b"no image")
    notes.write_text("val_0.JPEG\tn02\n")
    with pytest.raises(FormatError, match="n01_0.JPEG"):
        tiny_imagenet(tmp_path)
    with pytest.raises(FileNotFoundError, match="class folders"):
        tiny_imagenet(tmp_path / "nothing")


def test_loader_repeats_an_epoch_exactly_and_parts_do_not_overlap():
    train, _ = digits()
    loader = ImageLoader(train, 64, train=True, pad=2, flip=True, seed=3)
    first = list(loader)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, loader))
    loader.set_epoch(1)
    assert not torch.equal(first[0][0], next(iter(loader))[0])
    plain = [ImageLoader(train, 64, train=True, rank=r, ranks=2) for r in (0, 1)]
    seen = [torch.cat([x.flatten(1).double() @ torch.arange(64.0).double() for x, _ in p]) for p in plain]
    assert len(plain[0]) == len(train) // 2 // 64 and len(seen[0]) == len(seen[1])
    assert len(ImageLoader(train, 64)) == 23 and sum(len(y) for _, y in ImageLoader(train, 64)) == len(train)
