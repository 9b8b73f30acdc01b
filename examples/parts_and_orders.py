"""Loops over what split and chunk return: mixed convolutions, invertible blocks, and channels in another order."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.models import ImageLoader, digits


class Mixed(nn.Module):
    """Kernels of several sizes, each for a part of the channels (MixConv)."""

    def __init__(self, channels: int, kernels: tuple[int, ...]):
        super().__init__()
        each = channels // len(kernels)
        self.convs = nn.ModuleList(nn.Conv2d(each, each, k, padding=k // 2, groups=each) for k in kernels)
        self.point = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(x, [conv.in_channels for conv in self.convs], 1)
        return F.relu(self.point(torch.cat([conv(part) for part, conv in zip(parts, self.convs)], 1)))


class Invertible(nn.Module):
    """What goes in can be computed from what comes out (RevNet); the channels then change places."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(channels // 2, channels // 2, 3, padding=1) for _ in range(2))
        self.register_buffer("order", torch.arange(channels).view(2, -1).t().flatten())

    def forward(self, x: Tensor) -> Tensor:
        halves = list(x.chunk(2, 1))
        for i, layer in enumerate(self.layers):
            halves[i] = halves[i] + F.relu(layer(halves[1 - i]))
        return torch.cat(halves, 1).index_select(1, self.order)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.MaxPool2d(2))
        self.blocks = nn.Sequential(Mixed(24, (1, 3, 5)), Invertible(24))
        self.last = nn.Linear(24 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(self.stem(x)).flatten(1))


torch.manual_seed(0)
train_set, test_set = digits()
loader = ImageLoader(train_set, 64, train=True)
x, test_x = train_set.normalized(), test_set.normalized()

# How many parts there are depends on the shape of the input, so there must be an example of one.
original = ar.transform(Network(), example_inputs=x[:2])
ar.finetune(original, loader, epochs=4, lr=1e-2)
hybrid = ar.transform(original, calibration=(x[:256], train_set.labels[:256]), relu_budget=100)
ar.finetune(hybrid, loader, teacher=original, epochs=1)
for name, model in (("original", original), ("hybrid", hybrid)):
    with torch.no_grad():
        right = (model.eval()(test_x).argmax(1) == test_set.labels).double().mean()
    print(f"{name}: {ar.relu_count(model):5,} ReLUs, accuracy {right:.2%}")

answer = ar.compile(hybrid, x[:256]).run(test_x[:10]).output.argmax(1)
print(f"private: {answer.tolist()}\ntrue:    {test_set.labels[:10].tolist()}")
