"""Drift: data like those of the fit do not fire, others do, and a new fit is better."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationError


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.two(torch.relu(self.one(x)))).mean((2, 3)))


def inputs(seed, n=128):
    return torch.randn(n, 3, 10, 10, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def hybrid():
    torch.manual_seed(0)
    return ar.transform(Small(), calibration=inputs(0), relu_budget=200)


def error(gm, x):
    """Mean squared difference to the network with all its ReLUs."""
    full = copy.deepcopy(gm)
    for site in ar.sites(full).values():
        site.set_keep(torch.ones_like(site.keep))
    with torch.no_grad():
        return float((gm.eval()(x) - full.eval()(x)).square().mean())


def test_data_like_those_of_the_fit_do_not_fire(hybrid):
    before = {name: tensor.clone() for name, tensor in hybrid.state_dict().items()}
    for options in ({}, {"reference": inputs(1)}):
        drift = ar.monitor(hybrid, inputs(2), **options)
        assert not drift.drifted and drift.samples == 128, str(drift)
        assert drift.reference == ("reference" if options else "calibration")
        assert all(site.distance < 0.2 and site.beyond < 0.001 for site in drift.sites)
    assert "no site has drifted (128 samples" in str(drift)
    assert all(torch.equal(before[name], tensor) for name, tensor in hybrid.state_dict().items()), "it only looks"


def test_other_data_fire_and_a_new_fit_is_better(hybrid):
    x, masks = 2.5 * inputs(3), {name: site.keep.clone() for name, site in ar.sites(hybrid).items()}
    drift = ar.monitor(hybrid, x, reference=inputs(1))
    assert drift.drifted == [*ar.sites(hybrid)]
    first = drift.sites[0]
    assert first.distance > 0.5 and first.beyond > 0.01 and first.error > first.before and first.error > first.best
    assert str(drift).count("fit again") == 2
    again = copy.deepcopy(hybrid)
    ar.refit(again, x)
    assert error(again, x) < 0.7 * error(hybrid, x)
    assert all(torch.equal(site.keep, masks[name]) for name, site in ar.sites(again).items())
    assert not ar.monitor(again, 2.5 * inputs(4)).drifted
    json.dumps(drift.to_dict())


def test_only_some_sites_are_fitted_again(hybrid):
    before = {name: site.coeffs.detach().clone() for name, site in ar.sites(hybrid).items()}
    first, second = before
    ar.refit(hybrid, 2 * inputs(3), [second])
    assert torch.equal(ar.sites(hybrid)[first].coeffs, before[first])
    assert not torch.equal(ar.sites(hybrid)[second].coeffs, before[second])
    with pytest.raises(ValueError, match="'none' is no site; sites are "):
        ar.refit(hybrid, inputs(3), ["none"])


def test_the_expected_error_is_that_of_the_polynomials(hybrid):
    x = inputs(5)
    site = next(iter(ar.sites(hybrid).values()))
    seen = []
    handle = site.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    with torch.no_grad():
        hybrid.eval()(x)
    handle.remove()
    ((at, got),) = seen
    where = (~site.keep).expand_as(at)
    wrong = (got - at.relu())[where].double().square().sum() / at.relu()[where].double().square().sum()
    assert ar.monitor(hybrid, x).sites[0].error == pytest.approx(float(wrong), rel=1e-4)


def test_a_network_from_a_file_has_no_reference_but_a_range(hybrid, tmp_path):
    ar.save(hybrid, tmp_path / "h.safetensors")
    torch.manual_seed(0)
    loaded = ar.load(Small(), tmp_path / "h.safetensors")
    drift = ar.monitor(loaded, inputs(2))
    assert not drift.drifted and drift.reference == "" and drift.sites[0].distance is None
    assert "beside no reference" in str(drift)
    assert ar.monitor(loaded, 3 * inputs(2)).drifted


def test_lines_and_sites_without_replacements(tmp_path):
    torch.manual_seed(0)
    gm = ar.transform(Small(), calibration=inputs(0), relu_budget=400, degree=1)
    one, two = ar.sites(gm).values()
    one.set_keep(torch.ones_like(one.keep))
    drift = ar.monitor(gm, 3 * inputs(2))
    assert drift.sites[0].error is None and drift.sites[1].error > drift.sites[1].before
    assert np.isfinite([site.distance for site in drift.sites]).all()


def test_what_cannot_be_compared():
    gm = ar.transform(Small(), example_inputs=inputs(0)[:1])
    with pytest.raises(CalibrationError, match="was never fitted"):
        ar.monitor(gm, inputs(0))
    gm = ar.transform(Small(), calibration=inputs(0))
    with pytest.raises(CalibrationError, match="batches is empty"):
        ar.monitor(gm, [])


def test_with_a_program_windows_are_looked_at(hybrid, tmp_path):
    program = ar.compile(hybrid, inputs(0))
    kept = [name for name, site in ar.sites(hybrid).items() if site.kept]
    now = ar.monitor(hybrid, inputs(1), reference=inputs(0), program=program)
    assert [site.name for site in now.sites if site.window is not None] == kept
    assert all(0 < site.window < 1 for site in now.sites if site.window is not None)
    far = ar.monitor(hybrid, 30 * inputs(1), program=program)
    assert all(site.window > 1 for site in far.sites if site.window is not None)
    page = ar.inspect(hybrid).to_html(tmp_path / "report.html", sections=[(now.headline, now.rows())]).read_text()
    assert now.headline in page and "<th>window</th>" in page
