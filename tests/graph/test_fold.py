import copy

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from autorep_fx.graph.fold import FoldBatchNorm


def _randomize(model):
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -1, 1)
    return model.eval().double()


def _fold(model, x, shapes=True):
    gm = fx.symbolic_trace(copy.deepcopy(model))
    if shapes:
        ShapeProp(gm).propagate(x)
    return FoldBatchNorm()(gm)


def _norms(gm):
    return [n.name for n in gm.graph.nodes if n.op == "call_module"
            and isinstance(gm.get_submodule(n.target), nn.modules.batchnorm._BatchNorm)]  # fmt: skip


IMAGES = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class _Pair(nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()


class _Skip(_Pair):
    """The convolution's output is read twice."""

    def forward(self, x):
        y = self.conv(x)
        return self.bn(y) + y


class _CalledTwice(_Pair):
    """The convolution is called twice, once without the batch norm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.bn(self.conv(self.conv(x)))


class _Tied(_Pair):
    """Another convolution has the same weights."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(3, 4, 3)
        self.other.weight = self.conv.weight

    def forward(self, x):
        return self.bn(self.conv(x)) + self.other(x)


class _WeightRead(_Pair):
    """A node reads the weights."""

    def forward(self, x):
        return self.bn(self.conv(x)) + self.conv.weight.sum()


class _NormTwice(nn.Module):
    """One batch norm behind two convolutions: each pair folds by itself."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.bn = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn(self.a(x)) - self.bn(self.b(x))


@pytest.mark.parametrize("model", [_Pair(), _Pair(bias=False), _NormTwice()], ids=["bias", "no bias", "norm twice"])
def test_folds_and_computes_the_same(model):
    model = _randomize(model)
    gm = _fold(model, IMAGES)
    assert _norms(gm) == []
    torch.testing.assert_close(gm(IMAGES), model(IMAGES), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [_Skip, _CalledTwice, _Tied, _WeightRead])
def test_what_others_read_is_left_alone(kind):
    model = _randomize(kind())
    gm = _fold(model, IMAGES)
    assert len(_norms(gm)) == 1
    torch.testing.assert_close(gm(IMAGES), model(IMAGES), rtol=0, atol=0)


def test_a_second_run_changes_nothing():
    gm = _fold(_randomize(_Pair()), IMAGES)
    code, weight = gm.code, gm.conv.weight.clone()
    FoldBatchNorm()(gm)
    assert gm.code == code and torch.equal(gm.conv.weight, weight)


def test_train_mode_and_untracked_statistics_stay():
    for module in (nn.BatchNorm2d(4).train(), nn.BatchNorm2d(4, track_running_stats=False).eval()):
        gm = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3).eval(), module))
        assert len(_norms(FoldBatchNorm()(gm))) == 1


def test_linear_folds_only_where_channels_are_features():
    flat = _randomize(nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5)))
    x = IMAGES[:, 0, 0]
    assert _norms(_fold(flat, x)) == []
    torch.testing.assert_close(_fold(flat, x)(x), flat(x), rtol=0, atol=1e-12)
    # (N, 5, 5): the batch norm's channels are axis 1, not the layer's features
    square = _randomize(nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5)))
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    gm = _fold(square, x)
    assert len(_norms(gm)) == 1
    torch.testing.assert_close(gm(x), square(x), rtol=0, atol=0)
    assert len(_norms(_fold(flat, x, shapes=False))) == 1, "folded without knowing the shape"


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.SyncBatchNorm])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_whatever_norm_follows_a_linear_layer_folds_into_it(norm, affine, bias):
    model = _randomize(nn.Sequential(nn.Linear(8, 5, bias), norm(5, affine=affine)))
    x = IMAGES[:, 0, 0]
    gm = _fold(model, x)
    assert _norms(gm) == []
    torch.testing.assert_close(gm(x), model(x), rtol=0, atol=1e-12)
    assert (model[1].weight is None) == (not affine), "the model's own norm was given a weight"


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(4, affine=False), nn.SyncBatchNorm(4), nn.SyncBatchNorm(4, affine=False)]
)
def test_whatever_norm_follows_a_convolution_folds_into_it(norm):
    model = _randomize(nn.Sequential(nn.Conv2d(3, 4, 3), norm))
    gm = _fold(model, IMAGES)
    assert _norms(gm) == []
    torch.testing.assert_close(gm(IMAGES), model(IMAGES), rtol=0, atol=1e-12)
