"""Gates whose argument is next to nothing, as in networks that nobody has trained: they are a constant, nearly."""

import pytest
import torch
from torch import nn

import autorep_fx as ar


class Gated(nn.Module):
    """A convolution, and a gate of its channels by their means."""

    def __init__(self, gate):
        super().__init__()
        self.conv, self.act, self.reduce = nn.Conv2d(1, 4, 3), nn.Hardswish(), nn.Conv2d(4, 4, 1)
        self.expand, self.gate, self.last = nn.Conv2d(4, 4, 1), gate, nn.Linear(4, 3)
        with torch.no_grad():
            for layer in (self.conv, self.reduce, self.expand):
                layer.bias.zero_()
            self.conv.weight *= 2.0**-18

    def forward(self, x):
        y = self.act(self.conv(x))
        gate = self.gate(self.expand(torch.relu(self.reduce(y.mean((2, 3), keepdim=True)))))
        return self.last((y * gate).mean((2, 3)) * 2.0**18)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gate", [nn.Hardsigmoid(), nn.Sigmoid()])
def test_a_gate_of_next_to_nothing_leaves_room_for_what_it_multiplies(gate):
    torch.manual_seed(0)
    x, model = torch.randn(16, 1, 6, 6), Gated(gate).eval()
    program = ar.compile(ar.transform(model, example_inputs=x, progress=False), x, progress=False)
    plan = program.native[0]
    exponents = {step.name: step.frac_bits for step in plan.steps}
    assert exponents["gate"] < 50
