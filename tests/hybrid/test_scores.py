import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationError
from autorep_fx.graph.batches import Batches
from autorep_fx.hybrid.positions import choose
from autorep_fx.hybrid.scores import scores
from autorep_fx.search.evaluation import accuracy


class _Two(nn.Module):
    """y = 10 * relu(x0) + relu(x1): the first position matters a hundred times as much."""

    def forward(self, x):
        y = torch.relu(x)
        return 10 * y[:, :1] + y[:, 1:]


def test_score_is_the_squared_change_of_the_output():
    torch.manual_seed(0)
    x = torch.randn(500, 2)
    gm = ar.transform(_Two(), calibration=x)
    score = scores(gm, Batches(x))["relu"]
    site = ar.sites(gm)["relu"]
    change = (site.polynomial(x) - x.relu()).double().square().mean(0).detach()
    torch.testing.assert_close(score, change * torch.tensor([100.0, 1.0], dtype=torch.float64), rtol=1e-5, atol=0)


def test_better_than_chance_on_a_trained_network(trained_digits):
    from autorep_fx.models import ImageLoader

    model, train, test = trained_digits
    loader = ImageLoader(test, 360)
    gm = ar.transform(model, calibration=(train.normalized(slice(512)), train.labels[:512]), relu_budget=400)
    chosen = accuracy(gm, loader)
    generator = torch.Generator().manual_seed(0)
    chance = choose({n: torch.rand(s.shape, generator=generator) for n, s in ar.sites(gm).items()}, 400)
    for name, site in ar.sites(gm).items():
        site.set_keep(chance[name])
    assert chosen > accuracy(gm, loader) - 0.01 and chosen > 0.6


ENDS = {
    "argmax": lambda x: x.argmax(1),
    "gt": lambda x: (x > 0).float(),
    "int_1": lambda x: x.round().int(),
    "getitem": lambda x: torch.topk(x, 1)[1].to(x.dtype),
}


class _Ends(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.net, self.last = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)), ENDS.get(name)

    def forward(self, x):
        return self.net(x) if self.last is None else self.last(self.net(x))


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("limit", [{"relu_budget": 8}, {"offline_mb": 1.0}])
def test_a_result_without_a_gradient_names_the_node_that_has_none(name, limit):
    x = torch.randn(32, 12)
    with pytest.raises(CalibrationError, match=f"calibration batch 0 makes .* no gradient.*'{name}' has none.*argmax"):
        ar.transform(_Ends(name), calibration=x, **limit)
    assert ar.relu_count(ar.transform(_Ends("scores"), calibration=x, relu_budget=8)) == 8  # what it says


def test_sites_whose_gradient_the_model_stops_have_an_effect():
    class Stopped(_Ends):
        def forward(self, x):
            return self.net[2](self.net[:2](x).detach()).detach()

    x, plain, stopped = torch.randn(32, 12), _Ends("scores"), Stopped("scores")
    stopped.load_state_dict(plain.state_dict())
    kept = [ar.transform(net, calibration=x, relu_budget=8).get_submodule("net.1").keep for net in (plain, stopped)]
    assert torch.equal(*kept)
