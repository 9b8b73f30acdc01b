"""Fine-tuning of what was made within limits: it ends within them, by a change that is learned, or says so."""

import copy
import logging
import sys

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileWarning
from autorep_fx.forms.prices import Budget, Predicted
from autorep_fx.hybrid.fitting import Fitting, give_lines
from autorep_fx.models import ImageLoader, digits
from autorep_fx.search.loop import Loop
from autorep_fx.secure.link.network import network_of

TRAIN = digits()[0][:64]


@pytest.fixture(scope="module")
def made():
    """A network as a limit leaves it: a site that keeps all, one with lines at a half, one of lines alone."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, padding=1), nn.ReLU(),
                          nn.Flatten(), nn.Linear(128, 20), nn.ReLU(), nn.Linear(20, 10))  # fmt: skip
    gm = ar.transform(model, calibration=TRAIN.normalized(), progress=False)
    give_lines(gm, Fitting())
    for name, kept in (("3", 64), ("6", 0)):
        site = gm.get_submodule(name)
        site.set_line(torch.ones_like(site.keep))
        site.set_keep((torch.arange(site.total) < kept).view(site.shape))
    budget = Budget(None, 0.3, network_of("wan"))
    Predicted(162.0, 0.27, 8, budget.network).note(gm, budget, "element")
    return gm


def beyond(made, limit):
    """A copy whose plan takes more than this, as after a training that has moved it."""
    gm = copy.deepcopy(made)
    gm.meta["predicted"] = {**gm.meta["predicted"], "limits": {"offline_mb": limit}}
    return gm


def tuned(gm, epochs=1):  # so little that plans hardly move by themselves
    return ar.finetune(gm, ImageLoader(TRAIN, 32, train=True), epochs=epochs, lr=1e-5, progress=False)


@pytest.fixture(scope="module")
def taken(made):
    """Megabytes, by the plan of the images that are trained with."""
    return tuned(beyond(made, 1.0)).predicted["offline_mb"]


@pytest.fixture
def short_trainings(monkeypatch):
    found, recover = [], Loop._recover
    monkeypatch.setattr(Loop, "_recover", lambda self: (found.append(self.epoch), recover(self)))
    return found


def test_limits_go_with_the_masks_that_were_chosen_within_them(made):
    assert Budget.noted(made).limits == (0.3,)
    gm = copy.deepcopy(made)
    site = next(iter(ar.sites(gm).values()))
    site.set_keep(~site.keep)
    assert Budget.noted(gm) is None


def test_a_fine_tuning_that_ends_beyond_the_limit_changes_few_forms_and_learns_them(made, taken, short_trainings):
    limit = taken * 0.99  # which few positions make
    gm = beyond(made, limit)
    history = tuned(gm)
    assert history.predicted["offline_mb"] <= limit and gm.meta["predicted"] == history.predicted
    assert 0 < ar.relu_count(made) - ar.relu_count(gm) <= 0.25 * ar.relu_count(made)
    assert short_trainings == [0]


def test_forms_that_change_half_way_are_trained_with_all_else(made, taken, short_trainings):
    limit = taken * 0.97
    gm = beyond(made, limit)
    assert tuned(gm, epochs=2).predicted["offline_mb"] <= limit
    assert ar.relu_count(gm) < ar.relu_count(made) and not short_trainings


def test_a_fine_tuning_within_the_limit_changes_nothing(made, taken, short_trainings):
    gm = beyond(made, taken * 1.01)
    assert tuned(gm).predicted["limits"] == {"offline_mb": taken * 1.01} and not short_trainings
    assert all(torch.equal(site.keep, made.get_submodule(name).keep) for name, site in ar.sites(gm).items())


def test_a_limit_that_nothing_meets_is_told(made, caplog):
    gm = beyond(made, 0.001)
    with caplog.at_level(logging.WARNING):
        history = tuned(gm)
    assert "no forms bring it back: offline_mb=0.001 is less than lines alone take" in caplog.text
    assert history.predicted["offline_mb"] > 0.001
    with pytest.warns(CompileWarning, match=r"offline_mb=0.001 is exceeded, the plan for these examples takes 0\.\d+"):
        ar.compile(gm, TRAIN.normalized(slice(8)), network="wan", progress=False)


def test_a_last_change_that_is_not_trained_is_told(made, taken, caplog, monkeypatch):
    """Short trainings may move the plan each time; behind the last one there is a change alone."""
    monkeypatch.setattr(sys.modules[Loop.__module__], "_RECOVERIES", 0)
    with caplog.at_level(logging.WARNING):
        history = tuned(beyond(made, taken * 0.99))
    assert history.predicted["offline_mb"] <= taken * 0.99 and "nothing was trained with them" in caplog.text
