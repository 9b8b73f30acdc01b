"""Residual blocks that do nothing to the output take no room from those that do."""

import torch
from native_runs import compiled
from torch import nn


class Block(nn.Module):
    """What a network with layer scales has, as it is initialised: little is added to what goes past it."""

    def __init__(self, channels, scale):
        super().__init__()
        self.norm, self.layer = nn.GroupNorm(1, channels), nn.Conv2d(channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, x):
        return x + self.scale * self.layer(torch.relu(self.norm(x)))


def test_blocks_that_add_a_billionth_leave_room_for_the_norms_behind_them():
    torch.manual_seed(0)
    blocks = [Block(4, 1e-9) for _ in range(2)]
    net = nn.Sequential(nn.Conv2d(3, 4, 1), *blocks, nn.GroupNorm(1, 4), nn.Flatten(), nn.Linear(4 * 256, 4)).eval()
    x = torch.randn(2, 3, 16, 16) + torch.randn(2, 3, 1, 1)
    program = compiled(net, x)
    assert program.base_plan is not None
    assert (program.run(x[:1]).output - net(x[:1])).abs().max() < 0.02
