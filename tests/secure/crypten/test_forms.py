import pytest
import torch
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.compile import compile
from autorep_fx.secure.crypten.fixed_point import on_grid
from autorep_fx.secure.crypten.simulate import execute, simulated

UNIT = 2.0**-16


def _site(coeffs, keep=None, activation=None, largest=4.0):
    """Program of one activation on (2, 2, 3) samples, and the transformed module in float64."""
    gm = ar.transform(nn.Sequential(activation or nn.ReLU()), example_inputs=torch.zeros(1, 2, 2, 3))
    (site,) = ar.sites(gm).values()
    site.set_keep(torch.zeros(2, 2, 3, dtype=torch.bool) if keep is None else keep)
    site.set_coeffs(torch.as_tensor(coeffs))
    return compile(gm, torch.full((1, 2, 2, 3), largest)).crypten, gm.double()


def _x(n=500, largest=4.0):
    return (torch.rand(n, 2, 2, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1) * largest


def _forms(program):
    attrs = program.steps[0].attrs
    return [len(attrs[part]) for part in ("kept", "square", "direct")]


@pytest.mark.parametrize("coeffs, forms", [
    ([[0.1, 0.1], [0.5, 0.5], [0.2, 0.3]], [0, 12, 0]),
    ([[0.1, 0.1], [0.5, 0.5], [0.2, 0.0]], [0, 6, 6]),  # a line
    ([[0.1, 0.1], [0.5, 0.5], [0.2, -0.1]], [0, 6, 6]),  # opens downwards
    ([[0.1, 0.1], [0.5, 0.5], [0.2, 0.03]], [0, 6, 6]),  # vertex at -8.3, the data reach 4
    ([[0.1, 0.1], [0.5, 0.5], [0.2, 1e-6]], [0, 6, 6]),  # less than half a unit
    ([[0.1, 0.1], [0.0, 0.0], [0.2, 1e-6]], [0, 6, 6]),
    ([[0.1, 0.1], [0.5, 0.5]], [0, 0, 12]),
    ([[0.1, 0.1], [0.5, 0.5], [0.2, 0.2], [0.01, -0.01]], [0, 0, 12]),
    ([[0.1, 0.1], [0.5, 0.5], [0.2, 0.2], [0.01, -0.01], [0.002, 0.0]], [0, 0, 12]),
])  # fmt: skip
def test_form_and_value(coeffs, forms):
    program, exact = _site(coeffs)
    assert _forms(program) == forms
    torch.testing.assert_close(execute(program, _x()), exact(_x().double()).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.PReLU(), nn.PReLU(2)])
def test_kept_and_replaced_positions(activation):
    if isinstance(activation, nn.PReLU):
        nn.init.uniform_(activation.weight, -0.5, 1.5)
    keep = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    program, exact = _site([[0.1, 0.2], [0.5, 0.4], [0.2, -0.2]], keep, activation)
    kept, square, direct = _forms(program)
    assert kept == int(keep.sum()) and square == int((~keep[0]).sum()) and direct == int((~keep[1]).sum())
    x = _x(largest=9.0)
    torch.testing.assert_close(execute(program, x), exact(x.double()).detach(), rtol=0, atol=1e-12)


def test_rounding_in_order_keeps_the_stated_error():
    """|error| <= u/2 R**2 + c2 u R, plus u/2 for the constant (forms.py); rounding each by itself exceeds it."""
    c2, c1, c0 = 0.0640313, 0.5, 0.1  # vertex at -3.9
    program, exact = _site([[c0] * 2, [c1] * 2, [c2] * 2])
    x = _x()
    allowed = UNIT / 2 * 16 + c2 * UNIT * 4 + UNIT / 2
    x = (x.double() / UNIT).round() * UNIT  # only the coefficients' rounding counts
    wanted = exact(x).detach()
    assert (execute(program, x, rounded=True) - wanted).abs().max() <= allowed

    def grid(v):
        return round(v / UNIT) * UNIT

    apart = grid(c2) * (x + grid(c1 / (2 * c2))) ** 2 + grid(c0 - c1**2 / (4 * c2))
    assert (apart - wanted).abs().max() > allowed


def test_shared_numbers_are_on_the_grid():
    program, _ = _site([[0.1, 0.1], [0.5, 0.5], [0.2, -0.3]])
    for value in on_grid(program).values():
        assert torch.equal(value / UNIT, (value / UNIT).round())


def test_a_site_that_never_was_calibrated():
    gm = replace(ar.transform(nn.Sequential(nn.ReLU()), example_inputs=images()), 1.0)
    program = compile(gm, images()).crypten
    torch.testing.assert_close(execute(program, images()), gm.double()(images().double()).detach(), rtol=0, atol=1e-12)


def test_square_is_more_precise_than_direct():
    """Why the completed square is preferred: its first error is multiplied by c2 < 1, Horner's by |x|."""
    coeffs = [[0.1] * 2, [0.5] * 2, [0.2] * 2]  # vertex at -1.25
    square, _ = _site(coeffs)
    flipped = [[-c for c in row] for row in coeffs]
    direct, _ = _site(flipped)  # the same numbers, and c2 < 0 takes Horner's rule
    assert _forms(square)[1] and _forms(direct)[2]
    x = (_x().double() / UNIT).round() * UNIT
    errors = []
    for program in (square, direct):
        cut = simulated(16, torch.Generator().manual_seed(0))
        noisy, quiet = execute(program, x, rounded=True, cut=cut), execute(program, x, rounded=True)
        errors.append(float((noisy - quiet).std()))
    assert errors[0] < 0.5 * errors[1]
