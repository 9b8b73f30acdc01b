"""Graphs that fold an axis into the batch, or move it: the program computes what the model computes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from networks import OfInput, images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute


def agree(model, x, transform=None):
    gm = ar.transform(model.eval(), example_inputs=x)
    gm = gm if transform is None else transform(gm)
    program = lowered(gm, x)
    with torch.no_grad():
        wanted = (model if transform is None else gm).double()(x.double())
    torch.testing.assert_close(execute(program, x), wanted, rtol=0, atol=1e-6)
    return program


def windows(x, size):
    """(N, C, H, W) as (N x windows, tokens, C)."""
    n, c, h, w = x.shape
    x = x.view(n, c, h // size, size, w // size, size)
    return x.permute(0, 2, 4, 3, 5, 1).contiguous().view(-1, size * size, c)


def together(x, size, side):
    n = x.shape[0] // (side // size) ** 2
    x = x.view(n, side // size, side // size, size, size, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(n, -1, side, side)


class Shifted(nn.Module):
    """Attention in windows that are shifted, with a table of relative positions, as Swin has it."""

    def __init__(self, by_hand):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 4)
        self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 4)
        self.table = nn.Parameter(torch.randn(9, 2))
        grid = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        between = grid[:, :, None] - grid[:, None, :] + 1
        self.register_buffer("places", between[0] * 3 + between[1], persistent=False)
        self.register_buffer("mask", torch.zeros(9, 4, 4).masked_fill(torch.rand(9, 4, 4) < 0.2, -100.0))
        self.by_hand = by_hand

    def forward(self, x):
        y = windows(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).roll((-1, -1), (2, 3)), 2)
        n, tokens, size = y.shape
        q, k, v = self.qkv(y).reshape(n, tokens, 3, 2, size // 2).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.places.view(-1)].view(4, 4, 2).permute(2, 0, 1)
        count = self.mask.shape[0]
        if self.by_hand:
            scores = (q * 0.7) @ k.transpose(-2, -1) + bias.unsqueeze(0)
            scores = scores.view(-1, count, 2, 4, 4) + self.mask.unsqueeze(1).unsqueeze(0)
            y = scores.view(-1, 2, 4, 4).softmax(-1) @ v
        else:
            mask = self.mask.view(1, count, 1, 4, 4).expand(n // count, -1, 2, -1, -1).reshape(-1, 2, 4, 4)
            y = F.scaled_dot_product_attention(q, k, v, bias + mask)
        y = self.out(y.transpose(1, 2).reshape(n, tokens, size))
        y = y + self.down(F.gelu(self.up(y)))
        return together(y, 2, 6).roll((1, 1), (2, 3)) + x


@pytest.mark.parametrize("by_hand", [False, True])
def test_attention_in_shifted_windows(by_hand):
    torch.manual_seed(1)
    agree(Shifted(by_hand), images(4, 4, 6))


def test_a_site_in_windows_masks_all_windows_alike():
    torch.manual_seed(1)
    program = agree(Shifted(True), images(4, 4, 6), lambda gm: replace(gm, 0.5))
    (site,) = (step for step in program.steps if step.op == "hybrid" and step.attrs["kind"] == "gelu")
    assert site.shape == (4, 9, 6)


def each_window(function, *layers):
    class Each(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, x):
            return together(function(windows(x, 2), *self.layers), 2, 4)

    return Each()


def fused(x, conv, norm):
    y = norm(conv(x.transpose(1, 2).reshape(-1, 4, 2, 2)))
    return F.avg_pool2d(F.pad(y, (1, 0, 0, 1)), 2, 1).flatten(2).transpose(1, 2)


WINDOWS = {
    "softmax and sums": lambda: each_window(lambda x, soft: soft(x) * x.mean(1, keepdim=True), nn.Softmax(2)),
    "parts": lambda: each_window(lambda x: torch.cat([part + i for i, part in enumerate(x.chunk(2, -1))][::-1], -1)),
    "slices": lambda: each_window(lambda x: torch.cat([x[:, 1:], x[:, :1] * 2], 1)),
    "a token of their own": lambda: each_window(
        lambda x: torch.cat([torch.ones(1, 1, 4).expand(x.shape[0], -1, -1), x], 1).roll(1, 1)[:, 1:]
    ),
    "einsum": lambda: each_window(lambda x: torch.einsum("btc,bsc->bts", x, x)),
    "batch norm of tokens": lambda: each_window(
        lambda x, norm: norm(x.flatten(0, 1)).reshape_as(x), nn.BatchNorm1d(4)
    ),
    "a convolution": lambda: each_window(fused, nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4)),
    "the same queries": lambda: each_window(
        lambda x: x + x.view(-1, 4, 4, 4).mean((1, 2)).repeat_interleave(4, 0).unsqueeze(1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", WINDOWS.values(), ids=WINDOWS)
def test_what_is_done_to_each_window(make):
    torch.manual_seed(2)
    model = make()
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.normal_(norm.running_mean)
    agree(model, images(4, 4, 4))


def test_tokens_before_the_batch():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.linear, self.table = nn.LayerNorm(8), nn.Linear(8, 8), nn.Parameter(torch.randn(6, 1, 8))

        def forward(self, x):
            x = x.transpose(0, 1) + self.table
            return self.linear((x + self.linear(self.norm(x)).softmax(-1)).mean(0))

    torch.manual_seed(3)
    agree(Tokens(), torch.randn(4, 6, 8))


def test_windows_before_the_batch_are_refused():
    torch.manual_seed(4)
    with pytest.raises(CompileError, match="axis 0 must stay the batch"):
        agree(OfInput(lambda x: x.transpose(0, 1).reshape(-1, 8, 8).relu() @ torch.ones(8, 2)), images(4, 3, 8))


def test_a_model_is_not_changed_by_it():
    torch.manual_seed(5)
    gm = ar.transform(Shifted(True).eval(), example_inputs=images(4, 4, 6))
    before = copy.deepcopy(gm.state_dict())
    lowered(gm, images(4, 4, 6))
    assert gm.state_dict().keys() == before.keys()
