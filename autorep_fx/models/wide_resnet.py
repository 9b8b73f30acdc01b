"""Wide residual networks, pre-activation form.

Source: Zagoruyko and Komodakis, "Wide Residual Networks" (BMVC 2016).
"""

from __future__ import annotations

from torch import Tensor, nn


class WideBlock(nn.Module):
    """bn-relu-conv twice and a shortcut; where the width changes the shortcut starts behind the first ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(x))
        kept = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(self.relu2(self.bn2(self.conv1(y)))) + kept


class WideResNet(nn.Module):
    def __init__(self, depth: int, widen: int, classes: int, in_channels: int):
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6n + 4 with n >= 1 (10, 16, 22, ...), got {depth}")
        widths = (16, 16 * widen, 32 * widen, 64 * widen)
        self.stem = nn.Conv2d(in_channels, widths[0], 3, 1, 1, bias=False)
        blocks = []
        for stage in range(3):
            for i in range((depth - 4) // 6):
                first = i == 0
                blocks.append(
                    WideBlock(
                        widths[stage] if first else widths[stage + 1], widths[stage + 1], 1 + (first and stage > 0)
                    )
                )
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(widths[-1])
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.blocks(self.stem(x))))
        return self.fc(self.pool(x).flatten(1))


def wide_resnet(depth: int = 22, widen: int = 8, classes: int = 10, in_channels: int = 3) -> WideResNet:
    """Wide-ResNet-22-8: 1,392,640 ReLUs on 32x32 images.

    The papers count 1,359K: they leave out the 32,768 behind the last batch norm (1,392,640 - 32,768 = 1,359,872).
    """
    return WideResNet(depth, widen, classes, in_channels)
