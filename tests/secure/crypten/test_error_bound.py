import pytest
import torch
from error_bound import BOUNDS, error_bound
from networks import Everything, images, lower, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.compile import compile
from autorep_fx.secure.crypten.simulate import OPS, execute, simulated

UNIT = 2.0**-16
RUNS = 100


def _draws(program, x, error, runs=RUNS):
    """Errors of simulated runs beside the rounding, which is not random."""
    generator = torch.Generator().manual_seed(0)
    cut = simulated(program.frac_bits, generator)
    return (
        torch.stack([execute(program, x, rounded=True, cut=cut) for _ in range(runs)]) - error.output - error.rounding
    )


def test_every_operation_has_a_bound():
    assert set(BOUNDS) == set(OPS)


def test_one_convolution_in_numbers():
    """One division: at most one unit, standard deviation half a unit; the rounding is that of weights and input."""
    program = lower(nn.Conv2d(3, 4, 3), images())[0].crypten
    error = error_bound(program, images())
    torch.testing.assert_close(error.bound, torch.full_like(error.bound, UNIT), rtol=1e-12, atol=0)
    torch.testing.assert_close(error.std, torch.full_like(error.std, UNIT / 2), rtol=1e-12, atol=0)
    assert 0 < error.rounding.abs().max() <= UNIT / 2 * (27 * (3.5 + 0.2) + 1)
    value = error.output - program.server[next(k for k in program.server if k.endswith("bias"))].view(-1, 1, 1)
    assert error.wraps == pytest.approx(float(value.abs().sum()) * 2.0**32 / 2.0**64, rel=1e-3)


def test_a_division_by_two_layers_adds_up():
    """y = W2 (W1 x): bound |W2| 1 u + u, variance (sum W2**2 + 1) u**2 / 4."""
    model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.Linear(8, 3, bias=False))
    x = torch.randn(4, 6)
    program = lower(model, x)[0].crypten
    error = error_bound(program, x)
    weight = (model[1].weight.detach().double() / UNIT).round() * UNIT
    expected = (weight.abs().sum(1) * UNIT + UNIT).expand(4, 3)
    torch.testing.assert_close(error.bound, expected, rtol=1e-12, atol=0)
    expected = ((weight**2).sum(1) + 1).sqrt().expand(4, 3) * UNIT / 2
    torch.testing.assert_close(error.std, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_every_operation_stays_within_both(fraction):
    x = images(3, seed=2)
    gm = replace(ar.transform(Everything().eval(), example_inputs=x), fraction)
    program = compile(gm, x).crypten
    error = error_bound(program, x)
    draws = _draws(program, x, error)
    assert (draws.abs() <= error.bound).all()
    # The worst variance of a division is a quarter of u**2, the usual one a sixth; 100 draws know it within 20 %.
    ratio = draws.std(0) / error.std
    assert 0.6 < ratio.mean() < 1.1 and ratio.max() < 1.3
    # The mean of all draws: 6 standard deviations of it.
    assert (draws.mean(0).abs() <= 6 * error.std / RUNS**0.5).all()


def test_a_shortcut_is_counted_with_its_correlation():
    """y = x + x: the error of x doubles; as independent errors it would grow by sqrt(2) only."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x):
            y = self.fc(x)
            return y + y

    program = lower(Model(), torch.randn(2, 6))[0].crypten
    error = error_bound(program, torch.randn(2, 6))
    torch.testing.assert_close(error.std, torch.full_like(error.std, UNIT), rtol=1e-12, atol=0)


def test_more_bits_mean_less_error_and_more_wraps():
    gm = ar.transform(Everything().eval(), example_inputs=images())
    spline = ar.sites(gm)["hardswish"]  # its jumps stay what they are
    spline.set_keep(torch.zeros_like(spline.keep))
    coarse, fine = (error_bound(compile(gm, images(), frac_bits=bits).crypten, images()) for bits in (12, 20))
    assert (coarse.bound > 100 * fine.bound).all() and (coarse.std > 100 * fine.std).all()
    assert fine.wraps > 1e3 * coarse.wraps
