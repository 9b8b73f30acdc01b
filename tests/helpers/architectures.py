"""Small networks in the idioms that people write, for tests that must hold on all of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PlainModules(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(inplace=True),
            nn.Flatten(), nn.Linear(12 * 36, 20), nn.ReLU6(), nn.Dropout(0.3), nn.Linear(20, 10),
        )  # fmt: skip


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2, dilation=2), nn.Linear(8, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x), inplace=True)
        x = F.dropout(x, 0.2, self.training)
        x = F.relu6(self.conv2(x))
        x = F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)
        return self.fc(F.dropout(x, p=0.5, training=self.training))


class TensorMethods(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 10)

    def forward(self, x):
        x = self.conv1(x).relu()
        x = self.conv2(x).clamp(min=0) + x
        x = torch.clamp_min(x - 0.5, 0)
        return self.fc(x.mean(dim=(2, 3)).clamp(0, 6))


class SharedActivation(nn.Module):
    """One ReLU module called at three places."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        y = self.act(self.conv1(x))
        y = self.act(self.conv2(y) + y)
        return self.fc(self.act(y - 0.3).mean((2, 3)))


class _Residual(nn.Module):
    def __init__(self, width, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(width, width, 1, stride) if stride != 1 else None

    def forward(self, x):
        identity = x if self.down is None else self.down(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class TorchvisionStyleResNet(nn.Module):
    """In-place sum and in-place shared ReLU, as torchvision writes it."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.layers, self.fc = nn.Sequential(_Residual(8), _Residual(8, 2)), nn.Linear(8, 10)

    def forward(self, x):
        x = F.relu_(self.bn(self.stem(x)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.layers(x), (1, 1)), 1))


class PreActivation(nn.Module):
    """The statement form of an in-place ReLU, whose input is read again as the shortcut."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x):
        x = self.bn(self.conv1(x))
        x.relu_()
        y = self.conv2(x)
        return self.fc((x + y).flatten(2).mean(-1))


class DenseConcat(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.grow = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, 4, 3, padding=1)) for c in (4, 8)
        )
        self.fc = nn.Linear(12, 10)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.grow:
            x = torch.cat([x, layer(x)], dim=1)
        return self.fc(F.avg_pool2d(F.hardtanh(x, 0.0, 6.0), x.shape[-1])[:, :, 0, 0])


class MobileStyle(nn.Module):
    """Inverted bottlenecks: depthwise convolution, ReLU6, Hardswish, channel gate left alone."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(3, 12, 1), nn.BatchNorm2d(12), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, 2, 1, groups=12), nn.BatchNorm2d(12), nn.Hardswish())
        self.project, self.fc = nn.Conv2d(12, 8, 1), nn.Linear(8, 10)

    def forward(self, x):
        x = self.project(self.depthwise(self.expand(x)))
        return self.fc(x.mean([2, 3]))


class SmoothActivations(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.silu, self.gelu, self.leaky, self.prelu = nn.SiLU(), nn.GELU("tanh"), nn.LeakyReLU(0.1), nn.PReLU(8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        x = self.prelu(self.conv(x))
        x = F.gelu(self.silu(x)) + self.gelu(x)
        x = F.leaky_relu(self.leaky(x - 0.2), 0.3) * 0.5
        return self.fc(F.silu(x).mean((2, 3)))


class MaximumIdioms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.conv2, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, 10)
        self.register_buffer("floor", torch.zeros(()))

    def forward(self, x):
        x = torch.maximum(self.conv(x), torch.tensor(0.0))
        x = torch.max(self.conv2(x), torch.zeros_like(x)) - 0.1
        x = torch.maximum(x, self.floor) - 0.1
        return self.fc(x.clamp_min_(0.0).mean((2, 3)))


class DropPath(nn.Module):
    def forward(self, x):
        if not self.training:
            return x
        return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(0.8) / 0.8


class StochasticDepth(nn.Module):
    """A submodule that takes another path in train than in eval mode."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.drop, self.fc = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(8, 8, 1),
            DropPath(),
            nn.Linear(8, 10),
        )

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        return self.fc(torch.relu(x + self.drop(self.conv2(x))).mean((2, 3)))


class NestedSequential(nn.Module):
    """Modules reached through lists and dictionaries, an unused one, and frozen statistics."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleDict({"a": nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
                                     "b": nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU())})  # fmt: skip
        self.unused, self.fc = nn.ReLU(), nn.Linear(8, 10)

    def forward(self, x):
        for block in self.blocks.values():
            x = block(x)
        return self.fc(x.amax((2, 3)))


class MultiLayerPerceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(3 * 16 * 16, 32), nn.Linear(32, 16), nn.Linear(16, 10)

    def forward(self, x):
        x = torch.relu_(self.fc1(x.reshape(x.shape[0], -1)))
        return self.fc3(F.threshold(self.fc2(x), 0, 0))


class ReturnsTuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)

    def forward(self, x, scale=1.0):
        features = F.relu(self.conv(x)).mean((2, 3))
        return self.fc(features) * scale, features


#: (network, number of activation sites)
ARCHITECTURES = [
    (PlainModules, 3), (Functional, 2), (TensorMethods, 4), (SharedActivation, 3), (TorchvisionStyleResNet, 5),
    (PreActivation, 1), (DenseConcat, 3), (MobileStyle, 2), (SmoothActivations, 7), (MaximumIdioms, 4),
    (StochasticDepth, 2), (NestedSequential, 2), (MultiLayerPerceptron, 2), (ReturnsTuple, 1),
]  # fmt: skip


def build(kind: type[nn.Module]) -> nn.Module:
    """A network with weights and batch-norm statistics that are not trivial."""
    torch.manual_seed(0)
    model = kind()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def images(n: int = 4) -> torch.Tensor:
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(1))
