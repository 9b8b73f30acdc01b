"""Local response normalisation: the program computes what the model computes."""

import pytest
import torch
import torch.nn.functional as F
from networks import OfInput
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute

pytestmark = pytest.mark.filterwarnings("ignore:no activation was found")

X = 2 * torch.randn(3, 6, 4, 4, generator=torch.Generator().manual_seed(1))

LOCAL = {
    "of AlexNet": nn.LocalResponseNorm(5, k=2),
    "a root": nn.LocalResponseNorm(3, beta=0.5),
    "a reciprocal": nn.LocalResponseNorm(2, beta=1.0, alpha=0.3),
    "of a signal, a function": OfInput(lambda x: F.local_response_norm(x.flatten(2), 4, alpha=0.1)),
}


@pytest.mark.parametrize("norm", LOCAL.values(), ids=LOCAL)
def test_neighbouring_channels_are_divided_by(norm):
    model = nn.Sequential(norm, nn.Flatten(2), nn.Linear(16, 3)).eval()
    program = lowered(ar.transform(model, example_inputs=X), X)
    with torch.no_grad():
        wanted = model.double()(X.double())
    model.float()
    torch.testing.assert_close(execute(program, X), wanted, rtol=0, atol=1e-10)


def test_another_power_is_refused():
    model = nn.Sequential(nn.LocalResponseNorm(2, beta=0.6), nn.Conv2d(6, 2, 3)).eval()
    with pytest.raises(CompileError, match="beta of 0.5, 0.75 and 1"):
        lowered(ar.transform(model, example_inputs=X), X)
