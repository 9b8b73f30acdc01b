"""Layers along one, two and three axes, reductions and parts: name -> (model, input)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from networks import Fn, images
from torch import Tensor, nn

INPUTS = {
    1: torch.randn(5, 3, 14, generator=torch.Generator().manual_seed(1)),
    2: images(5),
    3: torch.randn(5, 2, 6, 8, 7, generator=torch.Generator().manual_seed(2)),
}


def of(function) -> Fn:
    return Fn(lambda x, c: function(x))


def _norm(channels: int, axes: int) -> nn.Module:
    norm = getattr(nn, f"BatchNorm{axes}d")(channels)
    for tensor, least, most in ((norm.weight, 0.5, 2), (norm.bias, -1, 1), (norm.running_mean, -1, 1),
                                (norm.running_var, 0.5, 2)):  # fmt: skip
        nn.init.uniform_(tensor, least, most)
    return norm


def _layers(axes: int) -> dict[str, nn.Module]:
    def make(name: str, *args, **options) -> nn.Module:
        return getattr(nn, f"{name}{axes}d")(*args, **options)

    def each(*values) -> int | tuple:
        return values[:axes] if axes > 1 else values[0]

    c = INPUTS[axes].shape[1]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[axes]
    pads = (1, 2, 0, 3, 2, 1)[: 2 * axes]
    return {
        "conv": make("Conv", c, 4, 3),
        "conv, stride and padding": make("Conv", c, 4, each(3, 2, 1), stride=each(2, 1, 3), padding=each(1, 0, 2)),
        "conv, groups": make("Conv", c, 2 * c, each(3, 2, 3), dilation=each(2, 1, 2), padding=2, groups=c),
        "conv, same": make("Conv", c, 4, each(2, 3, 4), padding="same"),
        "conv, circular": make("Conv", c, 4, 3, padding=1, padding_mode="circular"),
        "conv, replicate": make("Conv", c, 4, 3, padding=each(2, 1, 0), padding_mode="replicate", bias=False),
        "conv along the first": make("Conv", c, 4, each(3, 1, 1)),
        "conv along the last": make("Conv", c, 4, each(1, 3, 3), stride=each(1, 2, 1)),
        "transposed": make("ConvTranspose", c, 4, 3),
        "transposed, of whole windows": make("ConvTranspose", c, 4, 2, 2),
        "transposed, cropped": make("ConvTranspose", c, 4, 4, 2, 1),
        "transposed, groups": make(
            "ConvTranspose", c, 2 * c, each(3, 2, 5), each(2, 3, 1), each(1, 0, 2), each(1, 0, 0), groups=c
        ),
        "transposed, dilated": make("ConvTranspose", c, 4, 3, 2, 1, 1, dilation=2, bias=False),
        "transposed, dilated alone": make("ConvTranspose", c, 4, 3, 1, padding=3, dilation=2),
        "transposed, kernel below stride": make("ConvTranspose", c, 4, 1, 2, output_padding=1),
        "transposed, of large padding": make("ConvTranspose", c, 4, 3, 3, padding=3),
        "transposed and a batch norm": nn.Sequential(make("ConvTranspose", c, 4, 3, 2), _norm(4, axes)),
        "conv and a batch norm": nn.Sequential(make("Conv", c, 4, 3), _norm(4, axes)),
        "batch norm": _norm(c, axes),
        "average": make("AvgPool", 2),
        "average, padded": make("AvgPool", 3, 2, 1),
        "average, cut off": make("AvgPool", 3, 2, 1, ceil_mode=True, count_include_pad=False),
        "maximum": make("MaxPool", 2),
        "maximum, padded": make("MaxPool", 3, 2, 1),
        "maximum, cut off": make("MaxPool", 3, 2, 0, ceil_mode=True),
        "maximum, dilated": make("MaxPool", each(2, 3, 1), 1, 0, 2),
        "adaptive average": make("AdaptiveAvgPool", 1),
        "adaptive average, uneven": make("AdaptiveAvgPool", 5),
        "adaptive maximum": make("AdaptiveMaxPool", 2),
        "adaptive maximum, uneven": make("AdaptiveMaxPool", 4),
        "nearest": nn.Upsample(scale_factor=2),
        "nearest to a size": nn.Upsample(size=each(17, 9, 3)),
        "linear": nn.Upsample(scale_factor=2, mode=mode),
        "linear, corners": nn.Upsample(scale_factor=1.5, mode=mode, align_corners=True),
        "area": of(lambda x: F.interpolate(x, scale_factor=0.5, mode="area")),
        "constant pad": make("ConstantPad", pads, 0.7),
        **{name: make(name, pads) for name in ("ReflectionPad", "ReplicationPad", "CircularPad", "ZeroPad")},
        "dropout": nn.Sequential(make("Dropout"), make("MaxPool", 2)),
    }


class Ordered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.tensor([2, 0, 1]))

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order)[:, self.order]


def _first_of_max(x: Tensor) -> Tensor:
    values, _ = x.max(1)
    return values


_OTHERS = {
    "bicubic": (of(lambda x: F.interpolate(x, (5, 11), mode="bicubic")), 2),
    "antialiased": (of(lambda x: F.interpolate(x, (5, 3), mode="bilinear", antialias=True)), 2),
    "max_pool1d of torch": (of(lambda x: torch.max_pool1d(x, 2)), 1),
    "max_pool3d of torch": (of(lambda x: torch.max_pool3d(x, 2)), 3),
    "F.avg_pool1d": (of(lambda x: F.avg_pool1d(x, 3, padding=1)), 1),
    "amax of channels": (of(lambda x: x.amax(1)), 2),
    "amax of apart": (of(lambda x: x.amax((1, 3), keepdim=True)), 2),
    "amax of two": (of(lambda x: torch.amax(x, (-1, -2))), 2),
    "amax of a volume": (of(lambda x: x.amax((2, 4))), 3),
    "amin": (of(lambda x: x.amin(-1)), 2),
    "max, first": (of(lambda x: x.max(dim=1)[0]), 2),
    "max, values": (of(lambda x: x.max(1).values), 2),
    "max, unpacked": (of(_first_of_max), 2),
    "min, kept axis": (of(lambda x: torch.min(x, dim=3, keepdim=True)[0]), 2),
    "maxout": (of(lambda x: torch.max(x[:, :1], x[:, 1:])), 2),
    "maximum of two": (of(lambda x: torch.maximum(x, x.mean(1, True))), 2),
    "minimum of two": (of(lambda x: x.minimum(x.mean(1, True))), 2),
    "maximum with a parameter": (Fn(lambda x, c: torch.fmax(c, x)), 2),
    "minimum with a parameter": (Fn(lambda x, c: torch.min(c, x)), 2),
    "unfold": (nn.Unfold((2, 3), (1, 2), (1, 0), (2, 1)), 2),
    "F.unfold": (of(lambda x: F.unfold(x, 3)), 2),
    "x.unfold": (of(lambda x: x.unfold(2, 3, 2).unfold(1, 2, 1)), 2),
    "fold": (of(lambda x: F.fold(F.unfold(x, (3, 2), (1, 2), 1, (2, 1)), (8, 8), (3, 2), (1, 2), 1, (2, 1))), 2),
    "fold of whole windows": (nn.Sequential(nn.Unfold(2, stride=2), nn.Fold((8, 8), 2, stride=2)), 2),
    "pixels apart": (of(lambda x: torch.pixel_shuffle(torch.pixel_unshuffle(x, 4), 2) * 2), 2),
    "pixels of a volume apart": (of(lambda x: F.pixel_unshuffle(x[..., :6], 2)), 3),
    "mean of an ensemble": (of(lambda x: torch.stack([x, x * 2, x.relu()]).mean(0)), 2),
    "sum of an ensemble": (of(lambda x: torch.stack([x, x * 2], 0).sum(dim=0)), 2),
    "best of an ensemble": (of(lambda x: torch.stack([x, x * 2, x.relu()]).max(0)[0]), 2),
    "ensemble by cat": (of(lambda x: torch.cat([x.unsqueeze(0), (x * 2).unsqueeze(0)]).mean(dim=0)), 2),
    "one of a stack": (of(lambda x: torch.stack([x, x * 2], 0)[1]), 2),
    "sum of a stack": (of(lambda x: sum(torch.stack([x, x * 2], 0).unbind(0))), 2),
    "time first": (of(lambda x: x.transpose(0, 1).unbind(0)[1] * 2), 1),
    "loop over the time": (of(lambda x: sum(h.relu() for h in x.permute(2, 0, 1))), 1),
    "there and back": (of(lambda x: x.permute(2, 0, 1).permute(1, 2, 0) * 2), 1),
    "parts turned round": (of(lambda x: torch.cat(x.chunk(3, 1)[::-1], 1)), 2),
    "parts stacked": (of(lambda x: torch.stack(x.split(1, 1), 1)), 2),
    "loop over parts": (of(lambda x: torch.cat([p * i for i, p in enumerate(x.tensor_split(3, 2))], 2)), 2),
    "number of parts": (of(lambda x: x.chunk(3, 1)[2] * len(x.chunk(3, 1))), 2),
    "order in a buffer": (Ordered(), 2),
    "slices and new axes": (of(lambda x: x[:, -1:, ..., None, 2:5]), 2),
}

AXES = {f"{name}, {axes}": (layer, INPUTS[axes]) for axes in (1, 2, 3) for name, layer in _layers(axes).items()} | {
    name: (model, INPUTS[axes]) for name, (model, axes) in _OTHERS.items()
}
