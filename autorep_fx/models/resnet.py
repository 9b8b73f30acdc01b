"""Residual networks for small images, as the AutoReP and SNL papers use them.

Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), section 4.2 for the 6n + 2 family.
"""

from __future__ import annotations

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; ReLUs behind the first convolution and behind the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """3x3 stem, stages of :class:`BasicBlock` that halve the resolution from the second on, global average, linear."""

    def __init__(self, blocks: tuple[int, ...], widths: tuple[int, ...], classes: int, in_channels: int):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        stages, inputs = [], widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths)):
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            stages.append(
                nn.Sequential(*(BasicBlock(inputs if i == 0 else width, width, s) for i, s in enumerate(strides)))
            )
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        return self.fc(self.pool(self.stages(x)).flatten(1))


def resnet18(classes: int = 10, in_channels: int = 3) -> ResNet:
    """The CIFAR ResNet-18: 557,056 ReLUs on 32x32 images, 11.2 million weights."""
    return ResNet((2, 2, 2, 2), (64, 128, 256, 512), classes, in_channels)


def resnet_cifar(depth: int = 20, classes: int = 10, in_channels: int = 3) -> ResNet:
    """The 6n + 2 family; depth 20 has 188,416 ReLUs on 32x32 images and 0.27 million weights.

    Raises:
        ValueError: depth is not 6n + 2 with n >= 1.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6n + 2 with n >= 1 (8, 14, 20, ...), got {depth}")
    return ResNet(((depth - 2) // 6,) * 3, (16, 32, 64), classes, in_channels)
