"""Residual blocks that do nothing to the output take no room from those that do."""

import pytest
import torch
import torch.nn.functional as F
from native_runs import compiled
from torch import nn


class Block(nn.Module):
    """What a network with layer scales has, as it is initialised: little is added to what goes past it."""

    def __init__(self, channels, scale):
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.up, self.down = nn.Conv2d(channels, 2 * channels, 1), nn.Conv2d(2 * channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, x):
        return x + self.scale * self.down(F.gelu(self.up(self.norm(x))))


@pytest.mark.filterwarnings("error::autorep_fx.errors.CompileWarning")
def test_a_block_that_adds_a_billionth_leaves_room_for_the_norm_behind_it():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), Block(4, 1e-9), nn.GroupNorm(1, 4), nn.Flatten(), nn.Linear(1024, 4)).eval()
    x = torch.randn(4, 3, 16, 16) + torch.randn(4, 3, 1, 1)
    program = compiled(net, x)  # without a warning that it is not precise
    assert program.base_plan is not None
