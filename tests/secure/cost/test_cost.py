"""Declared rounds and bytes are what the channels count."""

import pytest
import torch
import torch.nn.functional as F
from native_runs import compared, compiled, planned
from networks import Everything, Fn, images, replace
from torch import nn

from autorep_fx import Network
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.host.threads import connect, run


class Branches(nn.Module):
    """Two activations that do not wait for one another, and one that waits for both."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 2, 3), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return F.relu(self.c(torch.cat([F.relu(self.a(x)), F.relu6(self.b(x))], 1)))


CASES = {
    "branches": (Branches, 0.0),
    "hybrid": (Branches, 0.7),
    "polynomials": (Branches, 1.0),
    "everything": (Everything, 0.3),
    "splines": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 2, 3), nn.Hardswish()), 0.3),
    "splines alone": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 2, 3)), 0.0),
    "gate": (lambda: Fn(lambda x, c: x * F.silu(x.mean((2, 3), keepdim=True))), 0.0),
    "linear": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), 0.0),
}


@pytest.mark.parametrize("name, comparison", [
    *((name, comparison) for name in CASES for comparison in ("fss", "gmw")),
    ("splines", "table"), ("splines alone", "table"),
])  # fmt: skip
@pytest.mark.parametrize("batch", [1, 3])
def test_declared_is_counted(name, batch, comparison):
    build, fraction = CASES[name]
    x = images(batch)
    program = compiled(build(), x, lambda gm: replace(gm, fraction))
    plan, numbers = planned(program, x)
    plan = compared(plan, comparison)
    members = connect(plan, numbers)
    result = run(plan, numbers, x.double().numpy(), members=members)[0]
    cost = plan_cost(plan, "lan", batch=batch)
    assert result.online["client"].depth == cost.rounds
    assert max(count.depth for count in result.offline.values()) == cost.offline_rounds
    for role in ("client", "server"):
        assert result.online[role].total_bytes == cost.online[role]
    for role in ("client", "server", "dealer"):
        assert result.offline[role].total_bytes == cost.offline.get(role, 0)


def test_one_message_each_way_an_activation():
    program = compiled(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)), images()
    )
    cost = program.cost("wan", comparison="fss")
    assert cost.rounds == 6 and cost.round_trips == 3
    acts = 4 * 36 + 4 * 16
    assert cost.online["server"] == 4 * acts + 24 * 2 + 8 * 4 * 16 + 24  # in rings of 32 bits
    assert cost.online_seconds > 3 * 0.04


def test_independent_activations_share_their_rounds():
    assert compiled(Branches(), images()).cost(comparison="fss").rounds == 6


def test_a_network_changes_what_auto_takes():
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 4, 3), nn.ReLU())
    program = compiled(model, images(size=64))
    assert program.cost("loopback").comparison == "gmw"
    assert program.cost(Network(100, 1000)).comparison == "fss"


def test_seconds_grow_with_the_network():
    program = compiled(Branches(), images())
    seconds = [program.cost(n).online_seconds for n in ("loopback", "lan", "wan")]
    assert seconds == sorted(seconds) and "6 rounds (3 round trips)" in str(program.cost("lan", comparison="fss"))


def test_bad_arguments():
    program = compiled(Branches(), images())
    with pytest.raises(ValueError, match="network must be a Network or one of 'loopback', 'lan', 'wan'"):
        program.cost("moon")
    with pytest.raises(ValueError, match="comparison must be one of"):
        program.cost(comparison="ot")
