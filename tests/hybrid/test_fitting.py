"""Fitting over what is replaced: a site keeps its degree, and is fitted to what arrives behind the one before it."""

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.graph.batches import Batches
from autorep_fx.hybrid.fitting import Fitting, fit_replaced


@pytest.mark.parametrize("changed,message", [({"degree": 5}, "1 to 4"), ({"fit": "normal"}, "traced, gaussian")])
def test_a_fitting_is_checked_when_it_is_made(changed, message):
    with pytest.raises(ValueError, match=message):
        Fitting(**changed)


def test_sites_keep_their_degrees_when_they_are_fitted_again():
    torch.manual_seed(0)
    x = torch.randn(200, 6)
    gm = ar.transform(nn.Sequential(nn.ReLU(), nn.Linear(6, 6), nn.ReLU()), calibration=x)
    first, second = ar.sites(gm).values()
    second.set_coeffs(torch.zeros(4, 6))
    for site in (first, second):
        site.set_keep(torch.tensor([True, False] * 3))
    fit_replaced(gm, Batches(x), Fitting(growth=None), progress=False)
    assert (first.degree, second.degree) == (2, 3)
    replaced = ~first.keep
    wrong = (first.polynomial(x) - x.relu()).square().mean(0)
    torch.testing.assert_close(first.fit_error[replaced], wrong[replaced].detach(), rtol=1e-4, atol=1e-7)
    behind = gm.eval().get_submodule("1")(first(x))
    torch.testing.assert_close(second.input_range, torch.stack([behind.min(), behind.max()]).detach())
