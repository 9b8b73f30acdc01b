"""Whose checkpoint it is, and what an interrupted run leaves behind."""

import numpy as np
import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import FormatError, FormatWarning
from autorep_fx.search.methods import METHODS


def _network(degree=2, budget=None):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 3))
    x = torch.randn(64, 4, 4)
    return ar.transform(net, calibration=x, degree=degree, relu_budget=budget)


def _batches(n=4):
    torch.manual_seed(1)
    return [(torch.randn(16, 4, 4), torch.randint(0, 3, (16,))) for _ in range(n)]


def _search(folder, gm=None, batches=4, teacher=None, **changed):
    gm = _network() if gm is None else gm
    options = {"relu_budget": 5, "epochs": 2, "checkpoint_dir": folder, "progress": False, **changed}
    ar.search(gm, _batches(batches), teacher=teacher, **options)
    return gm


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    _search(tmp_path_factory.mktemp("run"))
    return tmp_path_factory.getbasetemp() / "run0"


@pytest.mark.parametrize(
    "changed,message",
    [
        ({"relu_budget": 30}, "relu_budget is 5 there and 30 here"),
        ({"method": "snl"}, "method is autorep there and snl here"),
        ({"granularity": "channel"}, "granularity is element there and channel here"),
        ({"epochs": 3}, "epochs is 2 there and 3 here"),
        ({"seed": 7}, "seed is 0 there and 7 here"),
        ({"growth": None}, "growth is 0.5 there and None here"),
        ({"cost": {"_2": 2.0}}, "cost is None there"),
        ({"lr": 0.01, "temperature": 2}, "lr is 0.001 there and 0.01 here; temperature is 4.0 there and 2 here"),
        ({"batches": 5}, "batches an epoch is 4 there and 5 here"),
        ({"gm": _network(degree=3)}, "degree is 2 there and 3 here"),
        ({"teacher": _network()}, "teacher is False there and True here"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_a_checkpoint_of_another_run_is_refused(folder, changed, message):
    gm = changed.pop("gm", None) or _network()
    before = {name: value.clone() for name, value in gm.state_dict().items()}
    if "cost" in changed:
        changed["cost"] = {next(iter(ar.sites(gm))): 2.0}
    with pytest.raises(FormatError, match=f"last.pt is of another run: {message}.*another folder"):
        _search(folder, gm, resume=True, **changed)
    assert all(torch.equal(before[name], value) for name, value in gm.state_dict().items())


def test_what_does_not_change_the_result_may_differ(folder):
    gm = _search(folder, resume=True, lr=np.float64(1e-3), relu_budget=np.int64(5).item(), progress=None)
    assert ar.relu_count(gm) == 5


def test_fine_tuning_keeps_its_masks(tmp_path):
    def tune(gm):
        ar.finetune(gm, _batches(), epochs=1, checkpoint_dir=tmp_path, resume=True, progress=False)
        return gm

    tune(_network(budget=7))
    assert ar.relu_count(tune(_network(budget=7))) == 7
    with pytest.raises(FormatError, match=r"masks is 7 kept \(\w+\) there and 9 kept \(\w+\) here"):
        tune(_network(budget=9))
    with pytest.raises(FormatError, match="relu_budget is None there and 7 here"):
        _search(tmp_path, relu_budget=7, epochs=1, resume=True)


class _Interrupted(list):
    """Stops a run in its second epoch, while masks move."""

    def __iter__(self):
        for i, batch in enumerate(super().__iter__()):
            if getattr(self, "epoch", 0) == 1 and i == 1:
                raise KeyboardInterrupt
            yield batch

    def set_epoch(self, epoch):
        self.epoch = epoch


@pytest.mark.parametrize("method", ["autorep", "snl"])
def test_a_search_that_was_interrupted_can_be_saved_and_resumed(tmp_path, method):
    gm, x = _network(), torch.randn(8, 4, 4)
    options = {"relu_budget": 5, "epochs": 5, "method": method, "checkpoint_dir": tmp_path, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        ar.search(gm, _Interrupted(_batches()), **options)
    assert not gm.training and all(site.gate is None for site in ar.sites(gm).values())
    ar.save(gm, tmp_path / "hybrid.safetensors")
    loaded = ar.load(_network(), tmp_path / "hybrid.safetensors").eval()
    assert torch.equal(loaded(x), gm(x)) and ar.relu_count(loaded) == ar.relu_count(gm)
    ar.search(gm, _batches(), resume=True, **options)
    whole = _network()
    ar.search(whole, _batches(), **{**options, "checkpoint_dir": None})
    assert ar.relu_count(gm) == 5
    assert all(torch.equal(value, gm.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("method", ["autorep", "snl"])
def test_the_budget_is_met_without_a_mask_phase_and_with_fewer_batches_than_announced(method):
    class Short(list):
        def __len__(self):
            return 40

    assert ar.relu_count(_search(None, method=method, mask_phase=0.0)) == 5
    gm = _network()
    ar.search(gm, Short(_batches()), relu_budget=5, epochs=1, method=method, progress=False)
    assert ar.relu_count(gm) == 5 and all(site.gate is None for site in ar.sites(gm).values())


def test_a_changed_checkpoint_is_refused_and_one_of_an_earlier_version_is_read_with_a_warning(tmp_path):
    _search(tmp_path, epochs=1)
    path = tmp_path / "last.pt"
    state = torch.load(path, weights_only=True)
    state["optimizer"]["state"][0]["exp_avg"].view(-1)[3].add_(1)
    torch.save(state, path)
    with pytest.raises(FormatError, match="last.pt is damaged: its content is not what was written.*another folder"):
        _search(tmp_path, epochs=1, resume=True)
    state.pop("digest")
    torch.save(state, path)
    with pytest.warns(FormatWarning, match="has no digest of its content"):
        _search(tmp_path, epochs=1, resume=True)


@pytest.mark.parametrize("penalty", [None, 0.0, 0.5])
def test_a_penalty_is_restored_as_it_was(penalty):
    gm = _network()
    start = {name: torch.ones_like(site.keep, dtype=torch.float) for name, site in ar.sites(gm).items()}
    method, again = (METHODS["autorep"](gm, 5, "element", penalty, start, None) for _ in range(2))
    again.restore(method.state())
    assert again.weight == penalty
    again.restore({**method.state(), "weight": penalty or 0.0})  # as earlier versions wrote it
    assert again.weight == penalty
