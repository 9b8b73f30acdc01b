"""Kept, squared and lined positions in every mixture: the model, the program and both runtimes compute the same."""

import pytest
import torch
from native_runs import hold
from networks import compile, images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.program.plaintext import execute

MIXTURES = {
    "lines alone": lambda keep, g: torch.ones_like(keep),
    "by channel": lambda keep, g: (torch.arange(len(keep)) % 2 == 0).view(-1, *(1,) * (keep.dim() - 1)).expand_as(keep),
    "by position": lambda keep, g: torch.rand(keep.shape, generator=g) < 0.5,
    "nowhere": lambda keep, g: torch.zeros_like(keep),
}


def network(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), activation, nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(),
                         nn.Flatten(), nn.Linear(96, 8), nn.ReLU(), nn.Linear(8, 5))  # fmt: skip


def hybrid(mixture: str, activation: nn.Module, fraction: float = 0.7, degree: int = 2):
    gm = replace(ar.transform(network(activation).eval(), example_inputs=images()), fraction, degree)
    generator = torch.Generator().manual_seed(5)
    for site in ar.sites(gm).values():
        site.set_line(MIXTURES[mixture](site.keep, generator))
        site.set_line_coeffs(torch.rand(2, site.shape[0], generator=generator) * 0.5 + 0.1)
    return gm


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.PReLU(4)], ids=str)
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("fraction", [0.3, 0.9, 1.0])
def test_the_program_computes_what_the_model_does(mixture, activation, fraction):
    gm, x = hybrid(mixture, activation, fraction), images(3)
    torch.testing.assert_close(execute(compile(gm, x), x), gm.double()(x.double()))


@pytest.mark.parametrize("degree", [1, 3, 4])
def test_other_degrees(degree):
    gm, x = hybrid("by position", nn.ReLU(), degree=degree), images(3)
    torch.testing.assert_close(execute(compile(gm, x), x), gm.double()(x.double()))


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_native(mixture, comparison):
    gm, x = hybrid(mixture, nn.ReLU()), images(3)
    run = hold(compile(gm, x), x, comparison=comparison)
    assert abs(run.output - run.exact).max() < 0.02


@pytest.mark.parametrize("mixture", MIXTURES)
def test_crypten(mixture, forked):
    gm, x = hybrid(mixture, nn.ReLU()), images(3)
    program = compile(gm, x)
    output = program.run(x, backend="crypten").output
    assert (output - execute(program, x)).abs().max() < 2e-3


def test_what_is_public_of_lines_is_where_they_are():
    gm, x = hybrid("by position", nn.ReLU()), images(3)
    program = compile(gm, x)
    other = hybrid("by position", nn.ReLU())
    for site in ar.sites(other).values():
        site.set_line_coeffs(site.line_coeffs * 1.01)
    assert str(compile(other, x).public) == str(program.public)


def test_a_site_of_lines_alone_sends_nothing():
    gm, x = hybrid("lines alone", nn.ReLU(), fraction=1.0), images(32)
    assert compile(gm, x).cost("wan").rounds == 2  # the input and the output
