"""Arguments of forward(): those with a default keep it, the others are inputs of the graph."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import TraceError
from autorep_fx.graph.trace import trace


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)


class Flag(Layer):
    def forward(self, x, pool=True):
        x = F.relu(self.conv(x))
        return x.mean((2, 3)) if pool else x


class Mask(Layer):
    def forward(self, x, mask=None, **options):
        x = F.relu(self.conv(x)) * options.get("scale", 2)
        return x if mask is None else x * mask


class Keyword(Layer):
    def forward(self, x, *more, path="short"):
        return F.relu(self.conv(x)) + len(more) if path == "short" else more[0]


class Optional(Layer):
    def forward(self, x=None):
        return F.relu(self.conv(x))


class Many(Layer):
    def forward(self, *inputs):
        return F.relu(self.conv(inputs[0]))


@pytest.mark.parametrize("kind", [Flag, Mask, Keyword, Optional, Many])
def test_defaults_are_kept(kind):
    net, x = kind(), torch.randn(2, 3, 6, 6)
    gm = ar.transform(net, example_inputs=x)
    assert len(ar.sites(gm)) == 1
    assert len([node for node in gm.graph.nodes if node.op == "placeholder"]) == 1
    assert torch.equal(gm(x), net(x))
    assert torch.equal(trace(gm)(x), net(x))


def test_another_value_than_the_default_is_no_silent_matter():
    gm, x = trace(Flag()), torch.randn(2, 3, 6, 6)
    for call in (lambda: gm(x, False), lambda: gm(x, pool=False)):
        with pytest.raises(TypeError, match="forward"):
            call()


class Scaled(Layer):
    def forward(self, x, scale, *, shift, sign=1):
        return F.relu(self.conv(x)) * scale + shift * sign


def test_arguments_without_a_default_are_inputs():
    net, x = Scaled(), torch.randn(2, 3, 6, 6)
    gm = trace(net)
    assert torch.equal(gm(x, 3.0, shift=2.0), net(x, 3.0, shift=2.0))


def test_a_path_that_depends_on_an_argument_without_default_is_refused():
    class Chosen(Layer):
        def forward(self, x, pool):
            return self.conv(x).mean((2, 3)) if pool else self.conv(x)

    with pytest.raises(TraceError, match="control flow"):
        trace(Chosen())
