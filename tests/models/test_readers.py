"""Readers on small archives in the real formats, made here; and what they say of broken ones."""

import gzip
import io
import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from autorep_fx.errors import FormatError
from autorep_fx.models import ImageLoader, cifar, digits, fashion_mnist, glyphs, tiny_imagenet


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


def test_a_data_set_without_images_is_named(fashion):
    for kind, empty in (("images-idx3", np.zeros((0, 28, 28), np.uint8)), ("labels-idx1", np.zeros(0, np.uint8))):
        for path in fashion.glob(f"train-{kind}-ubyte*"):
            path.unlink()
        (fashion / f"train-{kind}-ubyte").write_bytes(_idx(empty))
    with pytest.raises(FormatError, match="no images to train on"):
        fashion_mnist(fashion)


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

    good = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2]}
    for content, message in [
        (Hostile(), "asks for builtins.print"),
        ({**good, b"data": good[b"data"].astype(np.int64)}, "has an array of 'i8'"),
        ({**good, b"data": np.array([Hostile()])}, "has an array of 'O8'|asks for"),
        ({**good, b"data": np.asfortranarray(np.zeros((3, 2), np.uint8))}, "Fortran"),
        ({**good, b"data": np.zeros((2, 3071), np.uint8)}, r"data of shape \(2, 3071\) and 2 labels"),
        ({**good, b"data": b"bytes"}, "no array 'data'"),
        ({**good, b"labels": [1]}, "1 labels"),
        ({**good, b"labels": [1, 10]}, "whole numbers below 10"),
        ({**good, b"labels": [1, True]}, "whole numbers below 10"),
        ([1, 2], "no array 'data' and list 'labels'"),
    ]:
        (folder / "data_batch_3").write_bytes(pickle.dumps(content, protocol=4))
        with pytest.raises(FormatError, match=f"data_batch_3.*({message})"):
            cifar(folder)
    with (folder / "data_batch_3").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FormatError, match="data_batch_3 has 1,099,511,627,776 bytes, more than"):
        cifar(folder)
    (folder / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_3"):
        cifar(folder)


def test_compressed_files_that_unpack_to_more_than_they_should(fashion):
    path = fashion / "train-images-idx3-ubyte.gz"
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (2, 28, 28))
    path.write_bytes(gzip.compress(head + bytes(1 << 26)))
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"train-images-idx3-ubyte.gz announces \(2, 28, 28\) and holds more"):
        fashion_mnist(fashion)
    assert tracemalloc.get_traced_memory()[1] < 1 << 23  # the 64 MB were never unpacked
    tracemalloc.stop()
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12))
    with pytest.raises(FormatError, match="announces .* more than the 268,435,456 bytes that are read"):
        fashion_mnist(fashion)


def _jpeg_of_size(width, height):
    """A JPEG file that announces a size, and has next to no data."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


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
    image = tmp_path / "train" / "n01" / "images" / "n01_0.JPEG"
    for size, message in [((65, 64), "is 65x64, not 64x64"), ((20_000, 20_000), "not a readable image|not 64x64")]:
        image.write_bytes(_jpeg_of_size(*size))
        notes.write_text("val_0.JPEG\tn02\n")
        with pytest.raises(FormatError, match=message):
            tiny_imagenet(tmp_path)
    image.write_bytes(b"no image")
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


def _glyphs(folder, **changed):
    rng = np.random.default_rng(0)
    arrays = {"pixels": rng.integers(0, 256, (124, 32, 32), dtype=np.uint8), "labels": np.arange(124) % 62,
              "test": np.arange(124) < 62}  # fmt: skip
    arrays["labels"] = arrays["labels"].astype(np.uint8)
    np.savez_compressed(folder / "glyphs.npz", **{**arrays, **changed})
    return arrays


def test_glyphs(tmp_path):
    arrays = _glyphs(tmp_path)
    train, test = glyphs(tmp_path)
    assert len(train) == len(test) == 62 and train.classes == 62 and train.normalized().shape == (62, 1, 32, 32)
    assert np.array_equal(test.pixels[:, 0].numpy(), arrays["pixels"][:62])
    assert np.array_equal(train.pixels[:, 0].numpy(), arrays["pixels"][62:])


@pytest.mark.parametrize("changed", [
    {"labels": np.full(124, 62, np.uint8)}, {"pixels": np.zeros((124, 28, 28), np.uint8)},
    {"test": np.zeros(124)}, {"labels": np.array(["a"] * 124, dtype=object)}, {"labels": np.uint8(3)},
], ids=["label", "size", "mask", "pickle", "scalar"])  # fmt: skip
def test_damaged_glyphs(tmp_path, changed):
    with pytest.raises(FileNotFoundError, match=r"glyphs.npz; recipes/glyphs.py makes it"):
        glyphs(tmp_path)
    _glyphs(tmp_path, **changed)
    with pytest.raises(FormatError, match="glyphs.npz is not what recipes/glyphs.py writes"):
        glyphs(tmp_path)
    (tmp_path / "glyphs.npz").write_bytes(b"PK")
    with pytest.raises(FormatError, match="glyphs.npz is not what"):
        glyphs(tmp_path)
