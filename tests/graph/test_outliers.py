"""Samples that are far out are found, named and left out of a fit."""

import warnings

import pytest
import torch
from architectures import PlainModules, build, images
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationWarning
from autorep_fx.graph.batches import Batches
from autorep_fx.graph.outliers import limit, outlying


def test_the_rule():
    x = torch.rand(100, 3, 4, 4)
    assert not outlying(x).any()
    x[7, 0, 2, 2], x[31] = -255.0, x[31] * 100
    assert outlying(x).nonzero().flatten().tolist() == [7, 31]
    dark = torch.cat([x[:3] * 1e-6, x[40:]])
    assert not outlying(dark).any()  # small samples are no danger


@pytest.mark.parametrize("maxima", [[1.0], [1.0, 1e9], [0.0, 0.0, 0.0, 1.0]])
def test_few_samples_have_nothing_to_be_compared_with(maxima):
    assert limit(torch.tensor(maxima)) == torch.inf


def test_ordinary_distributions_have_no_outliers():
    torch.manual_seed(0)
    assert not outlying(torch.randn(60_000, 1)).any()
    assert not outlying(torch.distributions.Laplace(0.0, 1.0).sample((20_000, 16))).any()


def test_they_are_left_out_with_their_labels_and_named_once():
    x, labels = torch.rand(300, 1, 4, 4), torch.arange(300)
    x[1, 0, 0, 0], x[290] = 255.0, 40.0
    batches = Batches((x, labels), leave_out=True)
    with pytest.warns(CalibrationWarning, match=r"2 of 300 .* batch 0 sample 1 \(255\), batch 2 sample 34 \(40\)\."):
        seen = list(batches)
    expected = [i for i in range(300) if i not in (1, 290)]
    assert torch.cat([y for _, y in seen]).tolist() == expected
    assert torch.equal(torch.cat([a for a, _ in seen]), x[expected])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(len(a) for a, _ in batches) == 298
        assert sum(len(a) for a, _ in Batches(x)) == 300  # who shows samples gets all of them


def test_a_batch_of_outliers_alone_is_not_given():
    data = [torch.rand(4, 2), torch.full((1, 2), 1e6), torch.rand(4, 2)]
    with pytest.warns(CalibrationWarning, match="batch 1 sample 0"):
        assert [len(x) for x, _ in Batches(data, leave_out=True)] == [4, 4]


def test_many_are_counted_and_some_are_named():
    x = torch.cat([torch.rand(30, 2), torch.full((9, 2), 1e3)])
    with pytest.warns(CalibrationWarning, match=r"9 of 39 .*sample 34 \(1e\+03\), \.\.\.\. Remove"):
        list(Batches(x, leave_out=True))


def test_one_broken_image_does_not_change_a_fit():
    x = images(33)
    broken = torch.cat([x, x[:1]])
    broken[-1, 0, 3, 3] = 1e4
    clean = ar.transform(build(PlainModules), calibration=x, relu_budget=300)
    with pytest.warns(CalibrationWarning, match="1 of 34 samples of calibration .* batch 0 sample 33"):
        gm = ar.transform(build(PlainModules), calibration=broken, relu_budget=300)
    assert all(torch.equal(v, gm.state_dict()[k]) for k, v in clean.state_dict().items())


def test_a_search_names_its_loader():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    x = torch.rand(16, 4, 4)
    x[3, 0, 0] = 1e4
    loader = [(torch.rand(16, 4, 4), torch.zeros(16).long()), (x, torch.zeros(16).long())]
    with pytest.warns(CalibrationWarning, match="train_loader are left out.*batch 1 sample 3"):
        ar.search(ar.transform(net), loader, relu_budget=2, epochs=1, progress=False)
