"""Every operation between the three parties, against the fixed-point model and against exact arithmetic."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from native_runs import compiled, hold, make_plan
from networks import Fn, images, replace
from torch import nn

from autorep_fx.errors import CompileError
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.planner.fold_squares import unit_squares

#: Only the input, the weights and the output are rounded: at most 2**-16 for the first and last, 2**-13 |x| a weight.
LINEAR = {
    "conv": nn.Conv2d(3, 4, 3, 2, 1),
    "conv without bias": nn.Conv2d(3, 5, (1, 3), bias=False),
    "conv depthwise": nn.Conv2d(3, 6, 3, groups=3, padding=1),
    "conv dilation": nn.Conv2d(3, 4, (3, 2), dilation=(2, 1), padding=(0, 1)),
    "conv conv": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)),
    "conv grouped": nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 3, groups=2, stride=(1, 2), padding=(2, 0))),
    "linear": nn.Linear(8, 5),
    "flatten linear": nn.Sequential(nn.Flatten(), nn.Linear(192, 5, bias=False)),
    "bn": nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()),
    "bn 1d": nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192)),
    "shortcut": Fn(lambda x, c: F.conv2d(x, c) + x, (3, 3, 1, 1)),
    "minus": Fn(lambda x, c: x - F.conv2d(x, c), (3, 3, 1, 1)),
    "linear bn over another axis": nn.Sequential(
        nn.Flatten(2), nn.Linear(64, 5), Fn(lambda x, c: x.transpose(1, 2)), nn.BatchNorm1d(5)
    ),
    "bn transposed": nn.Sequential(Fn(lambda x, c: x.transpose(1, 3)), nn.BatchNorm2d(8)),
    "max pool of one element": nn.MaxPool2d(1, stride=2),
    "add broadcast": Fn(lambda x, c: x + x.mean((2, 3), keepdim=True)),
    "add numbers": Fn(lambda x, c: 1 - (x + 0.3)),
    "add parameter": Fn(lambda x, c: x + c),
    "add larger parameter": Fn(lambda x, c: x[:, :1] + c),
    "scale": Fn(lambda x, c: 0.3 * x - x / 7 + 3 * x - 0.25 * x),
    "cat": Fn(lambda x, c: torch.cat([F.conv2d(x, c), x], 1), (2, 3, 1, 1)),
    "avg pool": nn.AvgPool2d(3, 2, 1),
    "avg pool divides": nn.AvgPool2d(2),
    "adaptive": nn.AdaptiveAvgPool2d((2, None)),
    "mean": Fn(lambda x, c: x.mean((2, 3))),
    "mean of one axis": Fn(lambda x, c: x.mean(1)),
    "permute": Fn(lambda x, c: F.conv2d(x.permute(0, 3, 1, 2), c), (4, 8, 1, 1)),
    "pad and crop": Fn(lambda x, c: F.pad(F.pad(x, (1, 0, 0, 2)), (-1, 0))),
    "slice": Fn(lambda x, c: x[:, 1:, ::2, 0] * 2),
}


#: Options of the planner: wires of 64 bits, of 32 wherever 7 bits fit, or wherever 12 do; and how coarse that is.
RINGS = pytest.mark.parametrize("ring, coarser", [
    ({"widths": (64,), "useful": 10}, 1), ({"useful": 7}, 20), ({"useful": 12}, 1),
], ids=["wide", "narrow", "mixed"])  # fmt: skip


@RINGS
@pytest.mark.parametrize("name", LINEAR)
def test_linear(name, ring, coarser):
    x = images(3)
    run = hold(compiled(nn.Sequential(LINEAR[name]), x), x, **ring)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.02)
    assert run.online["client"].depth == 2, "the input there, the output back"


PRODUCTS = {
    "gate": Fn(lambda x, c: x * x.mean((2, 3), keepdim=True)),
    "gate first": Fn(lambda x, c: x.mean((2, 3), keepdim=True) * F.conv2d(x, c), (3, 3, 1, 1)),
    "of one shape": Fn(lambda x, c: F.conv2d(x, c) * x, (3, 3, 1, 1)),
    "each wider than the other": Fn(lambda x, c: x.mean(2, keepdim=True) * x.mean((1, 3), keepdim=True)),
    "with itself": Fn(lambda x, c: x.mul(x)),
    "with a linear layer behind": nn.Sequential(Fn(lambda x, c: x * x[:, :1]), nn.Conv2d(3, 4, 3)),
    "of products": Fn(lambda x, c: x * x[:, :1] * x[:, 1:2]),
    "of small values": Fn(lambda x, c: (x / 1024) * (x / 256)),
    "of large and small values": Fn(lambda x, c: (x * 512) * (x / 1024)),
    "of activations": Fn(lambda x, c: F.relu(x) * F.relu6(F.conv2d(x, c)), (3, 3, 1, 1)),
    "of matrices": Fn(lambda x, c: x @ x.transpose(2, 3)),
    "of matrices of activations": Fn(lambda x, c: F.relu(x) @ F.relu(F.conv2d(x, c)), (3, 3, 1, 1)),
}


@RINGS
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_private_tensors(name, ring, coarser):
    x = images(3)
    run = hold(compiled(nn.Sequential(PRODUCTS[name]), x), x, **ring)
    # Each factor has 14 significant bits at twice its calibrated largest value, where there is room for them.
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=coarser * 2**-10 * np.abs(run.exact).max())


ACTIVATIONS = {
    "relu": nn.ReLU(),
    "relu of one number a sample": Fn(lambda x, c: F.relu(x.mean((1, 2, 3)))),
    "relu6": Fn(lambda x, c: F.relu6(4 * x)),
    "prelu": nn.PReLU(3, 0.3),
    "silu": nn.SiLU(),
    "gelu": Fn(lambda x, c: F.gelu(3 * x)),
    "gelu by tanh, of small values": Fn(lambda x, c: F.gelu(x / 256, approximate="tanh")),
    "hardswish of large values": Fn(lambda x, c: F.hardswish(200 * x) / 100),
    "leaky": nn.LeakyReLU(0.1),
    "leaky, steep": nn.LeakyReLU(-1.5),
    "max pool": nn.MaxPool2d(2),
    "max pool 3, padded": nn.MaxPool2d(3, 2, 1),
    "max pool dilated": nn.MaxPool2d((2, 3), stride=1, dilation=2, padding=(0, 1)),
    "max after convolution": nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)),
}


@RINGS
@pytest.mark.parametrize("comparison", ["fss", "gmw"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_kept_activations(name, comparison, ring, coarser):
    x = images(3)
    program = compiled(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), ACTIVATIONS[name]), x)
    run = hold(program, x, comparison=comparison, **ring)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.01 * coarser)


@RINGS
@pytest.mark.parametrize("comparison", ["fss", "gmw"])
@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("fraction", [0.3, 1.0])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.Hardswish])
def test_polynomials_beside_kept_positions(kind, fraction, degree, comparison, ring, coarser):
    x = images(2)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), kind(), nn.Conv2d(4, 2, 3))
    program = compiled(model, x, lambda gm: replace(gm, fraction, degree))
    run = hold(program, x, comparison=comparison, **ring)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.01 * coarser)


def test_every_form_of_a_polynomial_in_one_site():
    """Squares of both signs, a vertex far out, lines, nothing."""
    x = images(2)
    coeffs = torch.tensor([[0.1, 0.2, 0.0, -3.0, 0.3, 0.0],
                           [0.5, -0.5, 0.7, 0.9, 0.25, 0.0],
                           [0.2, -0.1, 0.0, 2e-4, 1e-6, 0.0]])  # fmt: skip

    def mask(gm):
        import autorep_fx as ar

        (site,) = ar.sites(gm).values()
        site.set_keep(torch.rand(site.shape) < 0.2)
        site.set_coeffs(coeffs)
        return gm

    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 1))
    for comparison in ("fss", "gmw"):
        run = hold(compiled(model, x, mask), x, comparison=comparison)
        np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.01)


def test_a_residual_stream_that_is_never_activated():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
            nn.init.uniform_(self.norm.weight, 0.5, 1.5)

        def forward(self, x):
            return x + self.conv(F.relu(self.norm(x)))

    x = images(2)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), *(Block() for _ in range(4)))
    for fraction in (0.0, 0.8):
        run = hold(compiled(model, x, lambda gm, f=fraction: replace(gm, f)), x)
        np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.05)


def test_long_chains_are_truncated_in_between():
    x = images(2)
    model = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(9)))
    run = hold(compiled(model, x), x)
    cuts = [s for s in run.plan.steps if s.attrs.get("kind") == "truncate"]
    assert cuts and run.online["client"].depth == 2 + 2 * len(cuts)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.01)


def test_no_room_names_the_layer():
    program = compiled(nn.Sequential(nn.Conv2d(3, 3, 3)), images(2))
    reach = {name: value * 2.0**60 for name, value in program.reach.items()}
    with pytest.raises(CompileError, match="no room in the ring at 'output'.*margin of 2 bits"):
        make_plan(*unit_squares(program, reach), InputRange.of_plan(program.plan()))


@pytest.mark.parametrize("model, degree, message", [
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), 3, "degree 3.*degree 1 and 2"),
])  # fmt: skip
def test_unsupported_sites(model, degree, message):
    x = images(2)
    with pytest.raises(CompileError, match=message):
        hold(compiled(model, x, lambda gm: replace(gm, 0.5, degree)), x)


def test_averages_in_a_row_find_room():
    """Each average over nine adds twelve bits to the exponent; from the fifth on there is a truncation in between."""
    x = torch.randn(4, 2, 16, 16)
    run = hold(compiled(nn.Sequential(*[nn.AvgPool2d(3, 1) for _ in range(7)]), x), x)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.002)
    assert run.online["client"].depth > 2
