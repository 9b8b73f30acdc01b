"""Functions that torch.fx.wrap keeps whole in a graph run privately by what they do."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute

pytestmark = pytest.mark.filterwarnings("ignore:no activation was found")

X = torch.randn(3, 5, 6, 4, generator=torch.Generator().manual_seed(1))


@torch.fx.wrap
def _windows(x, weight, size, training):
    """As torchvision's Swin does: padded to windows, shifted, masked by where each comes from, and cut off again."""
    n, h, w, c = x.shape
    x = F.pad(x, (0, 0, 0, -w % size, 0, -h % size))
    _, rows, columns, _ = x.shape
    x = torch.roll(x, shifts=(-1, -1), dims=(1, 2))
    count = (rows // size) * (columns // size)
    x = x.view(n, rows // size, size, columns // size, size, c)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(n * count, size * size, c)
    q, k, v = F.linear(x, weight).chunk(3, -1)
    a = q @ k.transpose(-2, -1)
    mask = x.new_zeros((rows, columns))
    for i, part in enumerate((slice(0, -size), slice(-size, -1), slice(-1, None))):
        mask[part] = i
    mask = mask.view(rows // size, size, columns // size, size).permute(0, 2, 1, 3).reshape(count, size * size)
    mask = mask.unsqueeze(1) - mask.unsqueeze(2)
    mask = mask.masked_fill(mask != 0, -100.0).masked_fill(mask == 0, 0.0)
    a = (a.view(x.size(0) // count, count, size**2, size**2) + mask).view(-1, size**2, size**2)
    x = F.dropout(F.softmax(a, -1), 0.5, training) @ v
    x = x.view(n, rows // size, columns // size, size, size, c).permute(0, 1, 3, 2, 4, 5)
    return torch.roll(x.reshape(n, rows, columns, c), shifts=(1, 1), dims=(1, 2))[:, :h, :w].contiguous()


@torch.fx.wrap
def _depends_on_values(x):
    return x * 2 if x.sum() > 0 else x


@torch.fx.wrap
def _draws(x):
    return x + torch.randn(4)


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.weight, self.last = function, nn.Parameter(torch.randn(12, 4) / 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.function(self, x * 2))


def test_a_function_that_is_kept_whole_is_looked_into():
    model = Wrapped(lambda net, x: _windows(x, net.weight, 4, net.training)).eval()
    gm = ar.transform(model, example_inputs=X)
    assert sum(node.target is _windows for node in gm.graph.nodes) == 1
    with torch.no_grad():
        wanted = model.double()(X.double())
    torch.testing.assert_close(execute(lowered(gm, X), X), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("function, said", [
    (lambda net, x: _depends_on_values(x), "node '_depends_on_values'.*leave that off"),
    (lambda net, x: _draws(x), "draws random numbers"),
])  # fmt: skip
def test_what_cannot_be_looked_into_is_named(function, said):
    model = Wrapped(function).eval()
    with pytest.raises(CompileError, match=said):
        lowered(ar.transform(model, example_inputs=X), X)
