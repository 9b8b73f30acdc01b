"""The calibration data that are accepted, and the walks that show what arrives at each site."""

import copy

import pytest
import torch
from architectures import PlainModules, build, images
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationError, CalibrationWarning
from autorep_fx.graph.batches import Batches
from autorep_fx.graph.calibrate import SiteWalk, calibrate, calibrate_in_order, evaluating


def _net():
    return ar.transform(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3), nn.ReLU()))


X = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "data,message",
    [
        ([], "empty"),
        (torch.empty(0, 3, 16, 16), "N > 0"),
        ([torch.empty(0, 3, 16, 16)], "batch 0 is empty"),
        ([images(), images()[:, :, :8]], "batch 1 has samples of shape"),
        ([torch.full((2, 3, 16, 16), torch.nan)], "batch 0 holds 1536 values that are NaN"),
        ([torch.zeros(2, 5, 16, 16)], "node '_?0'"),
        ([torch.zeros(2, 3, 16, 16, dtype=torch.long)], "floating-point"),
        (["images"], "floating-point"),
        (7, "iterable of batches"),
    ],
)
def test_bad_calibration_is_named(data, message):
    model = build(PlainModules)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CalibrationError, match=message):
        ar.transform(model, calibration=data, relu_budget=10)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_same_batches_whatever_holds_them():
    labels = torch.arange(300) % 3
    for data in (X, [X[:100], X[100:]], (x for x in X.split(50)), [(X, "name")], (X, labels)):
        batches = Batches(data)
        for _ in range(2):  # a generator too can be walked twice
            assert torch.equal(torch.cat([x for x, _ in batches]), X)
    assert torch.equal(torch.cat([label for _, label in Batches((X, labels))]), labels)
    assert all(label is None for _, label in Batches([(X, "name")]))


@pytest.mark.parametrize("targets", [X * 50, torch.randn(300), torch.randn(300, 1), torch.randn(300, 2, 2)])
def test_targets_are_not_taken_for_a_second_batch_of_inputs(targets):
    with pytest.raises(CalibrationError, match=r"pair of floating-point tensors.*\[\(inputs, targets\)\].*two batches"):
        ar.transform(_net(), calibration=(X, targets), relu_budget=2)
    (pair,) = Batches([(X, targets)])  # as it says
    assert torch.equal(pair[0], X) and torch.equal(pair[1], targets)
    if targets.shape == X.shape:
        with pytest.warns(CalibrationWarning, match="taken as two batches of inputs"):
            assert len([*Batches([X, targets])]) == 2
    else:
        with pytest.raises(CalibrationError, match="batch 1"):
            list(Batches([X, targets]))


def test_targets_of_the_shape_of_the_output_are_scored_by_their_distance():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    noisy, clean = torch.randn(2, 64, 1, 8, 8).unbind()
    gm = ar.transform(net, calibration=[(noisy, clean)], relu_budget=100)
    alone = ar.transform(net, calibration=noisy, relu_budget=100)
    (site,), (other,) = ar.sites(gm).values(), ar.sites(alone).values()
    assert torch.equal(site.input_range, other.input_range) and site.kept == 100


def test_statistics_are_those_of_what_arrives():
    gm = _net().train()
    seen = calibrate(gm, Batches(X.split(70)), ar.HybridActivation)
    arrives = gm.get_submodule("0")(X)
    assert list(seen) == ["1", "4"] and seen["1"].samples == 300 and seen["1"].shape == (6,)
    torch.testing.assert_close(seen["1"].low, arrives.amin(0).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(seen["1"].high, arrives.amax(0).double(), rtol=0, atol=1e-6)
    assert gm.training and gm.get_submodule("2").training, "the walk left the mode changed"


def test_a_walk_in_order_sees_what_was_changed_before():
    gm, order = _net().eval(), []

    def double(name, site, statistics):
        order.append((name, statistics))
        site.set_keep(torch.zeros(site.shape or statistics.shape, dtype=torch.bool))
        site.set_coeffs(torch.tensor([[0.0], [2.0], [0.0]]).repeat(1, *statistics.shape))

    calibrate_in_order(gm, Batches(X.split(70)), ar.HybridActivation, double)
    assert [name for name, _ in order] == ["1", "4"]
    arrives = gm.get_submodule("3")(2 * gm.get_submodule("0")(X))
    torch.testing.assert_close(order[1][1].high, arrives.amax(0).double(), rtol=0, atol=1e-5)


class _Score(nn.Module):
    """A ReLU of one number a sample."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 1)

    def forward(self, x):
        return self.fc(x.mul_(2)).squeeze(-1).relu() + 1


@pytest.mark.parametrize("granularity", ["element", "channel", "layer"])
def test_one_number_a_sample_is_one_channel(granularity):
    net, x = _Score().eval(), X.clone()
    gm = ar.transform(net, calibration=x, relu_budget=0, granularity=granularity)
    assert torch.equal(x, X), "the model wrote into the calibration data"
    (site,) = ar.sites(gm).values()
    assert site.shape == (1,) and ar.relu_count(gm) == 0 and site.statistics.samples == 300
    arrives = net.fc(2 * X)
    torch.testing.assert_close(site.input_range, torch.stack([arrives.min(), arrives.max()]).detach())
    torch.testing.assert_close(gm(X.clone()), site.polynomial(arrives).squeeze(1) + 1)
    site.set_keep(torch.ones(1, dtype=torch.bool))
    assert torch.equal(gm(X.clone()), net(X.clone())) and str(ar.inspect(gm, X))


def test_evaluating_gives_every_module_its_mode_back():
    net = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    net[1].eval()
    with pytest.raises(KeyError), evaluating(net):
        assert not any(m.training for m in net.modules())
        raise KeyError
    assert net.training and net[0].training and not net[1].training


def test_a_walk_names_the_node_that_fails():
    with pytest.raises(CalibrationError, match=r"example_inputs of shape \(2, 5\).*node '_0'"):
        SiteWalk(_net(), ar.HybridActivation).walk(torch.zeros(2, 5), "example_inputs")


def test_an_overflow_names_the_site():
    gm = _net()
    nn.init.ones_(gm.get_submodule("0").weight)
    with pytest.raises(CalibrationError, match="site '1' is not finite"):
        calibrate(gm, Batches(torch.full((2, 4), 3e38)), ar.HybridActivation)


def test_weights_that_are_not_finite_are_named_where_their_site_overflows():
    gm = _net()
    nn.init.constant_(gm.get_submodule("0").bias, float("nan"))
    with pytest.raises(CalibrationError, match="site '1' is not finite.*'0.bias' is not finite: load weights"):
        calibrate(gm, Batches(X), ar.HybridActivation)


def test_a_number_of_labels_that_is_not_that_of_the_samples_is_said():
    with pytest.raises(CalibrationError, match="calibration has 300 samples and 3 labels: give one for each sample"):
        Batches((X, torch.zeros(3, dtype=torch.long)))
