"""Drafts of one network share what no mask changes, and are those that each would be by itself."""

import copy

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.forms import drafts as module
from autorep_fx.forms.drafts import Drafts
from autorep_fx.secure.link.network import network_of


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.slopes, self.last = nn.PReLU(4), nn.Linear(4, 3)

    def forward(self, x):
        y = torch.relu(self.first(x))
        return self.last(torch.nn.functional.silu(y + self.slopes(self.second(y))).mean((2, 3)))


class Folded(nn.Module):
    """Whose site sees positions as samples: the program has them as positions."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.last(torch.relu(self.first(x.reshape(-1, 5))).reshape(-1, 4, 6).mean(1))


@pytest.fixture
def lowerings(monkeypatch):
    count, whole = [], module.lowered
    monkeypatch.setattr(module, "lowered", lambda *given: count.append(1) or whole(*given))
    return count


@pytest.mark.parametrize("model, shape, shared", [(Skip, (1, 4, 4), True), (Folded, (4, 5), False)])
def test_a_draft_beside_others_is_that_of_a_network_of_its_own(model, shape, shared, lowerings):
    torch.manual_seed(0)
    gm, x = ar.transform(model(), calibration=torch.randn(8, *shape)), torch.randn(8, *shape)
    for site in ar.sites(gm).values():
        site.set_line(torch.ones_like(site.keep))
    drafts, lan = Drafts(gm, x, network_of("lan")), network_of("lan")
    totals = {name: site.total for name, site in drafts.sites.items()}
    for kept, line in ((totals, False), ({name: 1 + total // 8 for name, total in totals.items()}, True),
                       (dict.fromkeys(totals, 0), False)):  # fmt: skip
        plan, own = drafts.evenly(kept, line), copy.deepcopy(gm)
        for name, site in ar.sites(own).items():
            site.set_keep(drafts.sites[name].keep)
            site.set_line(drafts.sites[name].line)
        count = len(lowerings)
        assert plan.digest() == Drafts(own, x, lan).as_it_is().digest()
        lowerings[count:] = []
    assert (len(lowerings) == 1) == shared


def test_squares_beside_lines_in_one_channel_are_lowered_by_themselves():
    torch.manual_seed(0)
    gm, x = ar.transform(Skip(), calibration=torch.randn(8, 1, 4, 4)), torch.randn(8, 1, 4, 4)
    drafts, half = Drafts(gm, x, network_of("lan")), {}
    none = {name: torch.zeros_like(site.keep) for name, site in drafts.sites.items()}
    drafts.of(none, none)
    for name, mask in none.items():
        half[name] = mask.clone()
        half[name].view(-1)[::2] = True
    plan = drafts.of(none, half)
    for name, site in ar.sites(gm).items():
        site.set_keep(none[name])
        site.set_line(half[name])
    assert plan.digest() == Drafts(gm, x, network_of("lan")).as_it_is().digest()
