"""What the entries are told: every option in one class, and the same by keywords and by an object."""

import inspect
from dataclasses import fields
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import BudgetError
from autorep_fx.hybrid import dapa, positions
from autorep_fx.hybrid.fitting import Fitting
from autorep_fx.search.methods import METHODS
from autorep_fx.secure.link.network import NETWORKS
from autorep_fx.settings import keywords, settings
from autorep_fx.settings.kinds import Range
from autorep_fx.settings.options import meanings

ENTRIES = [
    (ar.transform, ar.TransformSettings, keywords.TransformKeywords),
    (ar.finetune, ar.FinetuneSettings, keywords.FinetuneKeywords),
    (ar.search, ar.SearchSettings, keywords.SearchKeywords),
]
#: What is no setting: models, data and functions.
DATA = {"model", "gm", "train_loader", "val_loader", "teacher", "on_epoch", "example_inputs", "calibration", "settings"}

#: Keywords of before there were classes, with their defaults; each of them stays.
ONCE = {
    ar.transform: {"relu_budget": None, "latency_ms": None, "offline_mb": None, "total_ms": None, "dealer": True,
                   "network": "lan", "degree": 2, "device": None,
                   "granularity": "element", "fit": "traced", "growth": 0.5, "reconstruct": False, "softmax": "kept",
                   "progress": None, "loss": None},
    ar.finetune: {"epochs": 5, "lr": 1e-3, "warmup": 0.05, "ease_in": 0.05, "coeff_lr": None, "coeff_clip": 1.0,
                  "growth": 0.5, "growth_weight": 0.1, "grad_clip": 1.0, "temperature": 4.0, "feature_weight": 0.0,
                  "mixed": None, "compile": False, "seed": 0, "checkpoint_dir": None, "resume": False,
                  "tensorboard": None, "device": None, "progress": None, "loss": None, "metric": None,
                  "keep_best": None},
}  # fmt: skip
ONCE[ar.search] = {name: value for name, value in ONCE[ar.finetune].items() if name != "ease_in"} | {
    "epochs": 20, "relu_budget": None, "latency_ms": None, "offline_mb": None, "total_ms": None, "dealer": True,
    "network": "lan", "method": "autorep",
    "granularity": "element", "penalty": None, "initial": "score", "cost": None, "gate_lr": None, "mask_phase": 0.6,
    "refit_phase": 0.3,
}  # fmt: skip


@pytest.mark.parametrize("entry, kind, _", ENTRIES)
def test_every_field_is_documented(entry, kind, _):
    said = meanings(kind)
    for field in fields(kind):
        assert len(said.get(field.name, "")) > 20 and said[field.name].endswith("."), field.name
        assert f"\n    {field.name} (" in kind.__doc__ and f"default {field.default!r}" in kind.__doc__


@pytest.mark.parametrize("entry, kind, _", ENTRIES)
def test_each_default_is_what_the_public_call_uses_and_what_it_always_was(entry, kind, _):
    arguments = inspect.signature(entry).parameters
    told = {name: argument.default for name, argument in arguments.items() if name not in DATA}
    assert told == {field.name: field.default for field in fields(kind)} == kind().to_dict() == ONCE[entry]
    assert arguments.keys() - told.keys() <= DATA


@pytest.mark.parametrize("entry, kind, typed", ENTRIES)
def test_type_checkers_know_the_same_names_and_types(entry, kind, typed):
    assert get_type_hints(typed, include_extras=True) == {
        name: hint for name, hint in get_type_hints(kind, include_extras=True).items() if name in kind.names()
    }
    assert not typed.__required_keys__


def test_names_that_are_allowed_are_those_that_there_are():
    assert get_args(settings.Granularity) == positions.GRANULARITIES
    assert get_args(settings.Fit) == dapa.FITS
    assert get_args(settings.Method) == tuple(METHODS)
    assert get_args(settings.NetworkName) == tuple(NETWORKS)
    assert get_args(settings.Degree)[1] == Range(dapa.DEGREES[0], dapa.DEGREES[-1])


def test_fits_have_the_defaults_of_transform():
    assert Fitting() == Fitting(*(getattr(ar.TransformSettings(), field.name) for field in fields(Fitting)))
    assert inspect.signature(ar.refit).parameters["growth"].default == ar.TransformSettings.growth


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 3))


def inputs():
    return torch.randn(64, 4, 4, generator=torch.Generator().manual_seed(1))


def batches():
    return [(x, torch.arange(16) % 3) for x in inputs().split(16)]


def hybrid():
    return ar.transform(network(), calibration=inputs(), relu_budget=9)


def run(entry, **told):
    """What an entry leaves, for these options."""
    if entry is ar.transform:
        return ar.transform(network(), calibration=inputs(), **told).state_dict()
    gm = hybrid() if entry is ar.finetune else ar.transform(network())
    entry(gm, batches(), **told)
    return gm.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


TOLD = {
    ar.transform: ({"relu_budget": 7, "degree": 3}, {"degree": 1}),
    ar.finetune: ({"epochs": 2, "lr": 0.01, "progress": False}, {"lr": 0.02}),
    ar.search: ({"relu_budget": 7, "epochs": 2, "lr": 0.01, "progress": False}, {"relu_budget": 11}),
}


@pytest.mark.parametrize("entry, kind, _", ENTRIES)
def test_keywords_and_an_object_give_the_same_bit_for_bit_and_keywords_count_first(entry, kind, _):
    told, other = TOLD[entry]
    by_keywords, by_object = run(entry, **told), run(entry, settings=kind(**told))
    assert same(by_keywords, by_object)
    changed = run(entry, settings=kind(**told), **other)
    assert same(changed, run(entry, **{**told, **other})) and not same(changed, by_keywords)
    assert same(by_keywords, run(entry, settings=kind.from_dict(kind(**told).to_dict())))


@pytest.mark.parametrize("entry, kind, _", ENTRIES)
def test_an_unknown_keyword_names_the_nearest_and_nothing_has_run(entry, kind, _):
    for wrong, near in (("progres", "progress"), ("settigns", "settings"), ("grwoth", "growth")):
        message = rf"{entry.__name__}\(\): unknown option '{wrong}'; did you mean '{near}'\?"
        with pytest.raises(TypeError, match=message):
            entry(None, None, **{wrong: 1}) if entry is not ar.transform else entry(None, **{wrong: 1})
    with pytest.raises(TypeError, match="did you mean 'teacher'"):
        ar.finetune(None, None, techer=None)
    with pytest.raises(TypeError, match="did you mean 'calibration'"):
        ar.transform(None, calibraton=None)


@pytest.mark.parametrize("entry, kind, _", ENTRIES)
def test_settings_of_another_entry_are_refused(entry, kind, _):
    other = ar.FinetuneSettings() if entry is not ar.finetune else ar.SearchSettings(relu_budget=1)
    with pytest.raises(TypeError, match=f"must be {kind.__name__}, got {type(other).__name__}"):
        entry(None, settings=other) if entry is ar.transform else entry(None, None, settings=other)


def test_a_search_says_that_nothing_says_what_may_be_left():
    with pytest.raises(BudgetError, match="say what may be left"):
        ar.search(ar.transform(network()), batches(), settings=ar.SearchSettings(epochs=1))


def test_a_count_of_numpy_is_a_count():

    assert ar.relu_count(ar.transform(network(), calibration=inputs(), relu_budget=np.int64(7))) == 7
    gm = ar.transform(network())
    ar.search(gm, batches(), relu_budget=np.int64(7), epochs=1, progress=False)
    assert ar.relu_count(gm) == 7


def test_help_shows_every_option():
    shown = str(inspect.signature(ar.search))
    assert "relu_budget: 'Count | None' = None" in shown and "**options" not in shown
