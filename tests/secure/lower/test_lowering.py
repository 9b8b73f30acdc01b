import copy
import operator

import pytest
import torch
import torch.nn.functional as F
from architectures import ARCHITECTURES, build
from architectures import images as architecture_images
from networks import Attends, Everything, Fn, images, lower, replace
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import autorep_fx as ar
from autorep_fx.secure.compile import compile
from autorep_fx.secure.program.plaintext import execute

WEIGHT, LINEAR = torch.randn(6, 3, 3, 3), torch.randn(5, 8)

#: A matrix along the rows and one along the columns.
BOTH_AXES = ["linear", "permute", "linear", "permute"]

#: name -> (module, operations of its program)
SPELLINGS = {
    "circular": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), ["select", "select", "conv2d"]),
    "reflect": (nn.ReflectionPad2d((1, 0, 0, 2)), ["select", "select"]),
    "replicate": (Fn(lambda x, c: F.pad(x, (0, 3, 0, 0), mode="replicate")), ["select"]),
    "scale by channel": (Fn(lambda x, c: x * c), ["affine"]),
    "scale by a parameter": (Fn(lambda x, c: c * x, ()), ["affine"]),
    "scale by columns": (Fn(lambda x, c: x * c, (1, 8)), ["reshape", "affine", "reshape"]),
    "scale by sample": (Fn(lambda x, c: x / c, (1, 3, 8, 8)), ["reshape", "affine", "reshape"]),
    "normalise": (Fn(lambda x, c: (x - c) / c.abs()), ["add_private", "affine"]),
    "square": (Fn(lambda x, c: x**2 + x.square() + torch.pow(x, 2)), ["hybrid", "hybrid", "add", "hybrid", "add"]),
    "absolute value": (Fn(lambda x, c: x.abs() + torch.abs(x) + abs(x)), [*["hybrid"] * 2, "add", "hybrid", "add"]),
    "product": (Fn(lambda x, c: x * x.mean((2, 3), keepdim=True)), ["mean", "mul"]),
    "product expanded": (Fn(lambda x, c: x * x.mean((2, 3), keepdim=True).expand_as(x)), ["mean", "mul"]),
    "casts": (Fn(lambda x, c: x.to(torch.float64).type_as(x) + 1), ["add_number"]),
    "sum": (Fn(lambda x, c: x.sum((1, 3))), ["sum"]),
    "stack": (Fn(lambda x, c: torch.stack([x, x + 1], 2)), ["add_number", "reshape", "reshape", "cat"]),
    "avg pool, ceil": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), BOTH_AXES),
    "avg pool, inside": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), BOTH_AXES),
    "max pool, ceil": (nn.MaxPool2d(3, 2, 0, ceil_mode=True), ["select", "select", "max_pool2d"]),
    "max pool, padded and ceil": (nn.MaxPool2d(2, 2, 1, ceil_mode=True), ["max_pool2d"]),
    "adaptive, uneven": (nn.AdaptiveAvgPool2d((3, 5)), BOTH_AXES),
    "adaptive max, uneven": (nn.AdaptiveMaxPool2d((3, 4)), ["select", "max_pool2d"]),
    "adaptive max, larger": (
        Fn(lambda x, c: F.adaptive_max_pool2d(x, (11, 8))),
        ["select", "max_pool2d"],
    ),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), BOTH_AXES),
    "bilinear by a fraction": (Fn(lambda x, c: F.interpolate(x, scale_factor=1.7, mode="bilinear")), BOTH_AXES),
    "nearest": (nn.UpsamplingNearest2d(scale_factor=2), ["select", "select"]),
    "nearest to a size": (Fn(lambda x, c: F.interpolate(x, (8, 11))), ["select"]),
    "pixel unshuffle": (nn.PixelUnshuffle(2), ["reshape", "permute", "reshape"]),
    "channel shuffle": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ChannelShuffle(4)),
        ["conv2d", "reshape", "permute", "reshape"],
    ),
    "pads of one axis": (
        nn.Sequential(nn.Flatten(2), nn.ZeroPad1d(2), nn.CircularPad1d((0, 1))),
        ["reshape", "pad", "select"],
    ),
    "bn 3d": (nn.Sequential(nn.Unflatten(1, (3, 1)), nn.BatchNorm3d(3), nn.Dropout3d()), ["reshape", "affine"]),
    "pixel shuffle": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2)),
        ["conv2d", "reshape", "permute", "reshape"],
    ),
    "transposed": (nn.ConvTranspose2d(3, 4, 3), ["pad", "conv2d"]),
    "transposed, stride": (
        nn.ConvTranspose2d(3, 6, (3, 2), (2, 3), (1, 0), (1, 0), groups=3),
        ["pad", "conv2d", "reshape", "permute", "reshape", "pad"],
    ),
    "transposed, dilation": (nn.ConvTranspose2d(3, 4, 3, padding=3, dilation=2, bias=False), ["pad", "conv2d"]),
    "conv1d": (
        nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 6, 3, 2, 1, groups=3)),
        ["reshape", "reshape", "conv2d", "reshape"],
    ),
    "conv stride padding": (nn.Conv2d(3, 4, 3, 2, 1), ["conv2d"]),
    "conv depthwise": (nn.Conv2d(3, 6, 3, groups=3, bias=False), ["conv2d"]),
    "conv dilation": (nn.Conv2d(3, 4, (3, 2), dilation=(2, 1), padding=(0, 1)), ["conv2d"]),
    "conv same": (nn.Conv2d(3, 4, 3, padding="same"), ["conv2d"]),
    "conv same, even kernel": (nn.Conv2d(3, 4, (2, 4), padding="same"), ["pad", "conv2d"]),
    "conv valid": (nn.Conv2d(3, 4, 3, padding="valid"), ["conv2d"]),
    "F.conv2d": (Fn(lambda x, c: F.conv2d(x, c, None, 2, padding="valid"), (4, 3, 3, 3)), ["conv2d"]),
    "F.conv2d keywords": (
        Fn(lambda x, c: F.conv2d(input=x, weight=c, bias=c[:, 0, 0, 0], padding=1), (4, 3, 3, 3)),
        ["conv2d"],
    ),
    "linear": (nn.Linear(8, 5), ["linear"]),
    "F.linear": (Fn(lambda x, c: F.linear(x, c), (5, 8)), ["linear"]),
    "matmul": (Fn(lambda x, c: x @ c, (8, 5)), ["linear"]),
    "matmul and a bias": (Fn(lambda x, c: torch.matmul(x, c[:8]) + c[8], (9, 5)), ["linear"]),
    "matmul and another for each": (Fn(lambda x, c: x.matmul(c) + c[:, :1], (8, 5)), ["linear", "add_private"]),
    "matmul from the left": (Fn(lambda x, c: c @ x, (5, 8)), ["permute", "linear", "permute"]),
    "matmul by a vector": (Fn(lambda x, c: x @ c, (8,)), ["linear", "reshape"]),
    "a vector by matmul": (Fn(lambda x, c: c @ x, (8,)), ["permute", "linear", "reshape"]),
    "matmul by a matrix for each channel": (
        Fn(lambda x, c: x @ c, (3, 8, 5)),
        ["permute", "reshape", "conv2d", "reshape", "permute"],
    ),
    "matmul from the left for each channel": (
        Fn(lambda x, c: c @ x, (1, 3, 5, 8)),
        ["reshape", "conv2d", "reshape"],
    ),
    "matmul by one matrix for all": (Fn(lambda x, c: x @ c, (1, 8, 5)), ["linear"]),
    "matmul that makes axes": (
        Fn(lambda x, c: x[:, :1] @ c, (4, 8, 5)),
        ["index", "reshape", "linear", "reshape", "permute"],
    ),
    "matmul by what is computed": (Fn(lambda x, c: x @ (c.exp() * 2).t(), (5, 8)), ["linear"]),
    "matmul, float": (Fn(lambda x, c: x @ torch.ones(8, 2, dtype=x.dtype)), ["linear"]),
    "mm": (Fn(lambda x, c: torch.mm(x.flatten(1), c), (192, 4)), ["reshape", "linear"]),
    "mv": (Fn(lambda x, c: x.flatten(1).mv(c), (192,)), ["reshape", "linear", "reshape"]),
    "bmm": (
        Fn(lambda x, c: torch.bmm(x.flatten(1, 2), c.expand(len(x), -1, -1)), (1, 8, 5)),
        ["reshape", "linear"],
    ),
    "bmm from the left": (
        Fn(lambda x, c: torch.bmm(c.expand(x.size(0), -1, -1), x[:, 0]), (5, 8)),
        ["index", "permute", "linear", "permute"],
    ),
    "addmm": (Fn(lambda x, c: torch.addmm(c[0], x.flatten(1), c, beta=2, alpha=3), (192, 4)), ["reshape", "linear"]),
    "addmm to the input": (
        Fn(lambda x, c: torch.addmm(x[:, 0, 0], x[:, 1, 1], c, beta=0.5), (8, 8)),
        ["index", "index", "linear", "scale", "add"],
    ),
    "addmm of parameters": (
        Fn(lambda x, c: torch.addmm(x[:, 0, 0], c.new_ones(len(x), 8), c), (8, 8)),
        ["index", "add_private"],
    ),
    "x.addmm": (Fn(lambda x, c: c[:1].addmm(x.flatten(1), c), (192, 4)), ["reshape", "linear"]),
    "baddbmm": (
        Fn(lambda x, c: torch.baddbmm(c[None, :1], x[:, 0], c.expand(len(x), 8, 5)), (8, 5)),
        ["index", "linear"],
    ),
    "einsum": (Fn(lambda x, c: torch.einsum("nchw,wo->ncho", x, c), (8, 5)), ["linear"]),
    "einsum over channels": (
        Fn(lambda x, c: torch.einsum("nchw, oc -> nohw", x, c), (5, 3)),
        ["permute", "linear", "permute"],
    ),
    "einsum over two": (
        Fn(lambda x, c: torch.einsum("ohw,nchw->nco", c, x), (5, 8, 8)),
        ["reshape", "linear"],
    ),
    "einsum by groups": (
        Fn(lambda x, c: torch.einsum("nchw,cwo->ncho", x, c), (3, 8, 5)),
        ["permute", "reshape", "conv2d", "reshape", "permute"],
    ),
    "einsum, element by element": (
        Fn(lambda x, c: torch.einsum("nchw,ch->nhcw", x, c), (3, 8)),
        ["permute", "reshape", "affine", "reshape"],
    ),
    "einsum, a factor for each channel": (Fn(lambda x, c: torch.einsum("nc...,c->nc...", x, c), (3,)), ["affine"]),
    "einsum that makes axes": (
        Fn(lambda x, c: torch.einsum("nchw,ab->nchwab", x, c), (2, 3)),
        ["reshape", "linear", "reshape"],
    ),
    "einsum with dots": (Fn(lambda x, c: torch.einsum("...i,io->...o", [x, c]), (8, 5)), ["linear"]),
    "einsum without an arrow": (Fn(lambda x, c: torch.einsum("bcdw,wz", x, c), (8, 5)), ["linear"]),
    "einsum of the input alone": (
        Fn(lambda x, c: torch.einsum("nchw->nwc", x)),
        ["sum", "permute"],
    ),
    "einsum by one number": (Fn(lambda x, c: torch.einsum("n...,->n...", x, c), ()), ["affine"]),
    "einsum that sums all": (
        Fn(lambda x, c: torch.einsum("nchw,c->n", x, c), (3,)),
        ["sum", "linear", "reshape"],
    ),
    "einsum of sizes of one": (
        Fn(lambda x, c: torch.einsum("nchw,cw->nc", x, c), (1, 8)),
        ["sum", "linear", "reshape"],
    ),
    "einsum of a weight that is summed": (Fn(lambda x, c: torch.einsum("nchw,wok->ncho", x, c), (8, 5, 2)), ["linear"]),
    "einsum of three": (
        Fn(lambda x, c: torch.einsum("nchw,cw,co->nho", x, c, c), (3, 8)),
        ["permute", "reshape", "linear"],
    ),
    "einsum of two and a weight": (
        Fn(lambda x, c: torch.einsum("nchw,ndhw,c->ncd", x, x, c), (3,)),
        ["affine", "reshape", "permute", "reshape", "matmul"],
    ),
    "einsum of a diagonal": (
        Fn(lambda x, c: torch.einsum("nchh,ho->nco", x, c), (8, 5)),
        ["permute", "reshape", "index", "linear"],
    ),
    "einsum of a weight's diagonal": (
        Fn(lambda x, c: torch.einsum("nchw,ww->nchw", x, c), (8, 8)),
        ["reshape", "affine", "reshape"],
    ),
    "einsum that moves the batch": (
        Fn(lambda x, c: torch.einsum("knw,wo->nko", torch.einsum("nchw,h->cnw", x, c[0]), c), (8, 8)),
        ["permute", "linear", "reshape", "linear"],
    ),
    "tensordot": (Fn(lambda x, c: torch.tensordot(x, c, dims=1), (8, 5)), ["linear"]),
    "tensordot over two": (
        Fn(lambda x, c: torch.tensordot(x, c, dims=([1, 3], [1, 0])), (8, 3, 5)),
        ["permute", "reshape", "linear"],
    ),
    "conv bn": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), ["conv2d"]),
    "bn first": (nn.BatchNorm2d(3), ["affine"]),
    "bn without affine": (nn.BatchNorm2d(3, affine=False), ["affine"]),
    "bn of all processes": (nn.SyncBatchNorm(3), ["affine"]),
    "linear, bn without affine": (
        nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4, affine=False)),
        ["reshape", "linear"],
    ),
    "F.batch_norm": (Fn(lambda x, c: F.batch_norm(x, c.detach(), c.detach().abs() + 1, c, c), (3,)), ["affine"]),
    "bn 1d": (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192)), ["reshape", "affine"]),
    "operator.add": (Fn(lambda x, c: operator.add(x, x)), ["add"]),
    "torch.add alpha": (Fn(lambda x, c: torch.add(x, x * 2, alpha=3)), ["scale", "scale", "add"]),
    "x.add": (Fn(lambda x, c: (x * 2).add(x, alpha=-1)), ["scale", "add"]),
    "x.add_": (Fn(lambda x, c: (x * 2).add_(x)), ["scale", "add"]),
    "iadd": (Fn(lambda x, c: operator.iadd(x * 2, x)), ["scale", "add"]),
    "sub": (Fn(lambda x, c: x * 2 - x), ["scale", "add"]),
    "add broadcast": (Fn(lambda x, c: x + x.mean((2, 3), keepdim=True)), ["mean", "add"]),
    "add number": (Fn(lambda x, c: 1 + x + 0.3), ["add_number", "add_number"]),
    "number minus x": (Fn(lambda x, c: 1 - x), ["scale", "add_number"]),
    "torch.rsub": (Fn(lambda x, c: torch.rsub(x, 2.0)), ["scale", "add_number"]),
    "add parameter": (Fn(lambda x, c: x + c), ["add_private"]),
    "add parameter with batch axis": (Fn(lambda x, c: c - x, (1, 3, 8, 8)), ["scale", "add_private"]),
    "add computed constant": (Fn(lambda x, c: x.sub(c.exp() * 2, alpha=2)), ["add_private"]),
    "mul number": (Fn(lambda x, c: 0.3 * x), ["scale"]),
    "x.mul": (Fn(lambda x, c: x.mul(3)), ["scale"]),
    "x.mul_": (Fn(lambda x, c: (x + 1).mul_(0.5)), ["add_number", "scale"]),
    "div": (Fn(lambda x, c: x / 7), ["scale"]),
    "torch.div": (Fn(lambda x, c: torch.div(-x, 0.3)), ["scale", "scale"]),
    "cat": (Fn(lambda x, c: torch.cat([x, x + 1], dim=1)), ["add_number", "cat"]),
    "cat last axis": (Fn(lambda x, c: torch.cat((x, x), -1)), ["cat"]),
    "cat with zeros of the batch": (
        Fn(lambda x, c: torch.cat([x, torch.zeros(x.size(0), 2, x.size(2), x.size(3))], 1)),
        ["pad"],
    ),
    "cat with zeros around": (
        Fn(lambda x, c: torch.cat([x.new_zeros(len(x), 1, 8, 8), x, torch.zeros_like(x), x * 2], 1)),
        ["scale", "pad", "pad", "cat"],
    ),
    "cat with places": (
        Fn(lambda x, c: torch.cat([x, torch.linspace(-1, 1, x.size(3)).expand(x.size(0), 1, x.size(2), -1)], 1)),
        ["pad", "add_private"],
    ),
    "cat with a parameter": (
        Fn(lambda x, c: torch.cat([c.expand(x.size(0), -1, -1, -1), x], -1), (1, 3, 8, 2)),
        ["pad", "add_private"],
    ),
    "stack with ones": (
        Fn(lambda x, c: torch.stack([torch.ones_like(x), x], 2)),
        ["reshape", "pad", "add_private"],
    ),
    "add ones of the batch": (Fn(lambda x, c: x + torch.ones(x.size(0), 1, 1, 8)), ["add_private"]),
    "multiply by a range": (Fn(lambda x, c: x * torch.arange(x.size(1))[:, None, None]), ["affine"]),
    "divide by a size": (Fn(lambda x, c: x / x.size(1) ** 0.5), ["scale"]),
    "expand": (Fn(lambda x, c: x.mean(1, keepdim=True).expand(-1, 3, -1, -1)), ["mean", "cat"]),
    "expand two axes": (
        Fn(lambda x, c: x.mean((1, 3), keepdim=True).expand(x.size(0), 2, x.size(2), 3).relu()),
        ["mean", "cat", "cat", "hybrid"],
    ),
    "sum of two that are expanded": (
        Fn(lambda x, c: x.mean(1, True).expand_as(x) + x.mean(2, True).expand_as(x)),
        ["mean", "cat", "mean", "add"],
    ),
    "repeat": (Fn(lambda x, c: x[:, :1].repeat(1, 3, 1, 1)), ["index", "cat"]),
    "repeat interleaved": (Fn(lambda x, c: x.repeat_interleave(2, 1)), ["select"]),
    "flip": (Fn(lambda x, c: x.flip(1)), ["select"]),
    "roll": (Fn(lambda x, c: x.roll((1, -1), (1, 1)).roll(1, 1)), ["select"] * 3),
    "another order": (Fn(lambda x, c: x[:, [2, 0, 1]]), ["select"]),
    "another order of the last": (
        Fn(lambda x, c: x[..., torch.arange(x.size(3) - 1, -1, -4)]),
        ["select"],
    ),
    "index_select": (Fn(lambda x, c: x.index_select(1, torch.tensor([1, 1]))), ["select"]),
    "narrow and select": (Fn(lambda x, c: x.narrow(1, 1, 2).select(-1, 3)), ["index", "index"]),
    "avg_pool": (nn.AvgPool2d(3, 2, 1), ["avg_pool2d"]),
    "F.avg_pool2d": (Fn(lambda x, c: F.avg_pool2d(x, (2, 4))), ["avg_pool2d"]),
    "avg_pool ceil without effect": (nn.AvgPool2d(2, ceil_mode=True), ["avg_pool2d"]),
    "avg_pool divisor": (nn.AvgPool2d(2, divisor_override=3), ["avg_pool2d"]),
    "avg_pool odd size": (nn.AvgPool2d(3), ["avg_pool2d"]),
    "adaptive": (nn.AdaptiveAvgPool2d((2, None)), ["avg_pool2d"]),
    "F.adaptive": (Fn(lambda x, c: F.adaptive_avg_pool2d(x, 1)), ["avg_pool2d"]),
    "mean": (Fn(lambda x, c: x.mean((2, 3))), ["mean"]),
    "torch.mean": (Fn(lambda x, c: torch.mean(x, dim=[-1, -2], keepdim=True)), ["mean"]),
    "mean one axis": (Fn(lambda x, c: x.mean(1)), ["mean"]),
    "max_pool": (nn.MaxPool2d(3, 2, 1), ["max_pool2d"]),
    "F.max_pool2d": (Fn(lambda x, c: F.max_pool2d(x, 2, dilation=2, stride=(1, 2))), ["max_pool2d"]),
    "adaptive max": (nn.AdaptiveMaxPool2d(2), ["max_pool2d"]),
    "amax": (Fn(lambda x, c: x.amax((2, 3))), ["max_pool2d", "reshape"]),
    "max_pool of one element": (nn.MaxPool2d(1, stride=(2, 3)), ["index"]),
    "adaptive max of one element": (nn.Sequential(nn.AdaptiveMaxPool2d(8), nn.Flatten()), ["reshape"]),
    "amax of one element": (Fn(lambda x, c: x[..., 2:3, 3:4].amax((2, 3))), ["index", "reshape"]),
    "flatten": (nn.Flatten(), ["reshape"]),
    "torch.flatten": (Fn(lambda x, c: torch.flatten(x, 1)), ["reshape"]),
    "x.flatten": (Fn(lambda x, c: x.flatten(start_dim=2)), ["reshape"]),
    "view": (Fn(lambda x, c: x.view(x.size(0), -1)), ["reshape"]),
    "view shape": (Fn(lambda x, c: x.view(x.shape[0], x.shape[1] * x.shape[2], -1)), ["reshape"]),
    "reshape": (Fn(lambda x, c: x.reshape((-1, 24, 8))), ["reshape"]),
    "permute": (Fn(lambda x, c: x.permute(0, 2, 3, 1)), ["permute"]),
    "torch.permute": (Fn(lambda x, c: torch.permute(x, (0, -1, 1, 2))), ["permute"]),
    "transpose": (Fn(lambda x, c: x.transpose(1, -1)), ["permute"]),
    **{
        f"{name} of axes": (Fn(lambda x, c, name=name, args=args: getattr(torch, name)(x, *args)), ["permute"])
        for name, args in {"movedim": (1, -1), "moveaxis": ((1, 2), (3, 1)), "swapdims": (1, 2), "adjoint": ()}.items()
    },
    "transposed twice": (Fn(lambda x, c: x.flatten(1).t().t()), ["reshape"]),
    "fliplr": (Fn(lambda x, c: x.fliplr()), ["select"]),
    "hsplit": (Fn(lambda x, c: torch.cat(torch.hsplit(x, [1])[::-1], 1)), ["index", "index", "cat"]),
    "dsplit": (Fn(lambda x, c: torch.cat(x.dsplit([1])[::-1], 2)), ["index", "index", "cat"]),
    **{
        name: (Fn(lambda x, c, name=name: getattr(torch, name)([x, x])), ["cat"])
        for name in ("hstack", "column_stack", "dstack")
    },
    "divide and negative": (Fn(lambda x, c: torch.negative(x.divide(4))), ["scale", "scale"]),
    "unsqueeze squeeze": (Fn(lambda x, c: x.unsqueeze(1).squeeze(1)), ["reshape", "reshape"]),
    "pad": (Fn(lambda x, c: F.pad(x, (1, 0, 0, 2))), ["pad"]),
    "crop": (Fn(lambda x, c: F.pad(x, (-1, 0))), ["pad"]),
    "ZeroPad2d": (nn.ZeroPad2d((1, 2, 0, 3)), ["pad"]),
    "slice": (Fn(lambda x, c: x[:, 1:, ::2, 0]), ["index"]),
    "slice by shape": (Fn(lambda x, c: x[..., : x.shape[-1] // 2]), ["index"]),
    "chunk": (Fn(lambda x, c: torch.add(*(x.chunk(2, dim=2)[i] for i in (0, 1)))), ["index", "index", "add"]),
    "split": (Fn(lambda x, c: x.split([1, 2], 1)[1]), ["index"]),
    "relu (N,)": (Fn(lambda x, c: F.relu(x.mean((1, 2, 3)))), ["mean", "reshape", "hybrid", "reshape"]),
    "relu of a parameter": (Fn(lambda x, c: x + F.relu(c)), ["add_private"]),
    "dropout": (nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Identity()), ["reshape"]),
    "F.dropout": (Fn(lambda x, c: F.dropout(x, 0.5, training=False) + 1), ["add_number"]),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_lowers_and_computes_the_same(name):
    model, operations = SPELLINGS[name]
    program, exact = lower(model, images())
    assert [step.op for step in program.steps] == operations
    x = images(5, seed=2)
    # Constants that are computed (folded weights, c.exp()) are float32; everything else is float64.
    tolerance = (
        1e-5
        if name
        in (
            "conv bn",
            "linear, bn without affine",
            "add computed constant",
            "matmul by what is computed",
            "F.batch_norm",
        )
        else 1e-12
    )
    torch.testing.assert_close(execute(program, x), exact(x.double()).detach(), rtol=1e-14, atol=tolerance)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", [kind for kind, _ in ARCHITECTURES if kind.__name__ != "ReturnsTuple"])
def test_architectures(kind, fraction):
    x = architecture_images()
    gm = replace(ar.transform(build(kind).eval(), example_inputs=x), fraction)
    program = compile(gm, x, max_error=1e9)  # untrained: what they say of one sample and another hardly differs
    expected = copy.deepcopy(gm).double()(x.double()).detach()
    torch.testing.assert_close(execute(program, x), expected, rtol=0, atol=1e-5)


def test_everything_uses_every_operation():
    from autorep_fx.secure.crypten.ops import OPS as PRIVATE
    from autorep_fx.secure.crypten.simulate import OPS as FIXED
    from autorep_fx.secure.plan.local import LOCAL
    from autorep_fx.secure.plan.validate import RULES as PLANNED
    from autorep_fx.secure.planner.table import SOURCES
    from autorep_fx.secure.program.plaintext import OPS

    program, exact = lower(Everything(), images())
    attends, _ = lower(Attends(), torch.randn(2, 6, 8))
    for table in (PRIVATE, FIXED, SOURCES):
        assert set(table) == set(OPS)
    assert {kind for op, kind in PLANNED if op == "local"} == set(LOCAL)
    assert {step.op for step in (*program.steps, *attends.steps)} == set(OPS)
    x = images(3, seed=2)
    torch.testing.assert_close(execute(program, x), exact(x.double()).detach(), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "recompute",
    [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm,
     lambda m: prune.l1_unstructured(m, "weight", 0.5)],
)  # fmt: skip
def test_recomputed_weights_are_settled_and_folded(recompute):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    for layer in (model[0], model[4]):
        recompute(layer)
    x = images(5)
    model(x).square().sum().backward()  # what the layers hold is the result of a computation
    model.eval()
    gm = ar.transform(model, example_inputs=x)
    program = compile(gm, x)
    assert [step.op for step in program.steps] == ["conv2d", "hybrid", "reshape", "linear"]
    torch.testing.assert_close(execute(program, x), model(x).double().detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(gm(x), model(x), rtol=0, atol=0)


def test_a_model_that_writes_into_its_input():
    program, exact = lower(Fn(lambda x, c: x.sub_(100.0) * 2), x := images())
    assert torch.equal(x, images()) and program.reach["mul"].max() > 100
    torch.testing.assert_close(execute(program, x), exact(x.double()), rtol=0, atol=1e-12)


def test_the_model_is_not_changed_and_the_program_does_not_follow_it():
    gm = ar.transform(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train(), example_inputs=images())
    code, state = gm.code, {k: v.clone() for k, v in gm.state_dict().items()}
    program = compile(gm, images())
    before = execute(program, images())
    assert gm.training and gm.code == code
    assert all(torch.equal(v, state[k]) for k, v in gm.state_dict().items())
    with torch.no_grad():
        gm.get_submodule("0").weight.zero_()
    torch.testing.assert_close(execute(program, images()), before, rtol=0, atol=0)


def test_the_public_part_holds_no_private_number():
    model = Everything()
    program, _ = lower(model, images())
    private = torch.cat([p.detach().flatten() for p in model.parameters()])
    shown = repr(program.public) + str(program)
    assert not any(f"{value:.6f}" in shown for value in private.tolist())
    tensors = [v for step in program.steps for v in step.attrs.values() if isinstance(v, torch.Tensor)]
    assert tensors and all(t.dtype == torch.int64 for t in tensors), "only indices of kept positions are public"


SPELLED = {
    "@": lambda x, w, b: x @ w + b,
    "addmm": lambda x, w, b: torch.addmm(b, x, w),
    "einsum": lambda x, w, b: torch.einsum("ni,io->no", x, w) + b,
    "F.linear": lambda x, w, b: F.linear(x, w.t(), b),
    "baddbmm": lambda x, w, b: torch.baddbmm(b, x[:, None], w.expand(len(x), -1, -1)).squeeze(1),
}


@pytest.mark.parametrize("name", SPELLED)
def test_a_product_with_a_parameter_compiles_as_a_linear_layer_does(name):
    class Dense(nn.Module):
        def __init__(self, spelling):
            super().__init__()
            self.w, self.b, self.spelling = nn.Parameter(layer.weight.T), nn.Parameter(layer.bias), spelling

        def forward(self, x):
            return self.spelling(x, self.w, self.b).relu()

    layer, x = nn.Linear(12, 8), torch.randn(32, 12)
    expected = compile(ar.transform(nn.Sequential(layer, nn.ReLU()).eval()), x)
    program = compile(ar.transform(Dense(SPELLED[name]).eval()), x)
    steps = [step.op for step in program.steps if step.op not in ("reshape", "index")]
    assert steps == [step.op for step in expected.steps]
    assert program.cost("lan").online == expected.cost("lan").online
    torch.testing.assert_close(execute(program, x), execute(expected, x), rtol=0, atol=1e-12)
    torch.testing.assert_close(program.run(x[:3]).output, layer(x[:3]).relu(), rtol=0, atol=0.01)


def test_printing_shows_each_step_with_shapes():
    program, _ = lower(Everything(), images())
    lines = str(program).splitlines()
    assert len(lines) == len(program.steps) + 4
    row = next(line for line in lines if line.startswith("grouped"))
    assert "conv2d" in row and "Nx6x4x4" in row and "weight[6, 2, 3, 3]" in row and "groups=3" in row


def test_a_layer_that_is_called_output():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.output = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return self.output(F.relu(self.features(x)))

    program, exact = lower(Model(), images())
    assert program.plan().output.name == "output" and "output.layer" in str(program)
    torch.testing.assert_close(execute(program, images()), exact(images().double()).detach(), rtol=0, atol=1e-12)
