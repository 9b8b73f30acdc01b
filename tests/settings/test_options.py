"""A class of options: what is checked, what an error says, how it is shown and kept."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch

import autorep_fx as ar
from autorep_fx.errors import BudgetError
from autorep_fx.settings import options as module
from autorep_fx.settings.kinds import AtLeastOne, Folder, Positive
from autorep_fx.settings.options import Options, options


@options
class Cooking(Options):
    """How an egg is boiled."""

    minutes: Positive = 4.0
    """From when it boils,
    at sea level."""

    eggs: AtLeastOne = 2
    """How many."""

    pot: Folder | None = None
    salted: bool = False


@pytest.mark.parametrize("wrong, message", [
    ({"minutes": 0}, "minutes must be a number above 0, got 0"),
    ({"minutes": "long"}, "minutes must be a number above 0, got 'long'"),
    ({"minutes": float("nan")}, "minutes must be a number above 0, got nan"),
    ({"minutes": True}, "minutes must be a number above 0, got True"),
    ({"eggs": 0}, "eggs must be a whole number of at least 1, got 0"),
    ({"eggs": 1.5}, "eggs must be a whole number of at least 1, got 1.5"),
    ({"pot": 3}, "pot must be a text or a path, got 3"),
    ({"salted": 1}, "salted must be True or False, got 1"),
])  # fmt: skip
def test_a_wrong_kind_or_range_names_the_option_the_value_and_what_is_allowed(wrong, message):
    with pytest.raises(ValueError, match=message):
        Cooking(**wrong)
    with pytest.raises(ValueError, match=message):
        Cooking().replace(**wrong)
    with pytest.raises(ValueError, match=message):
        Cooking.from_dict(wrong)


def test_an_unknown_option_names_the_nearest_or_all_that_there_are():
    with pytest.raises(TypeError, match="Cooking: unknown option 'minuts'; did you mean 'minutes'?"):
        Cooking(minuts=3)
    with pytest.raises(TypeError, match="did you mean 'eggs'?"):
        Cooking().replace(egs=3)
    with pytest.raises(TypeError, match="unknown option 'fire'; there are minutes, eggs, pot, salted"):
        Cooking.from_dict({"fire": 1})


def test_numbers_of_numpy_are_numbers():
    told = Cooking(minutes=np.float32(2.5), eggs=np.int64(3)).to_dict()
    assert told == {"minutes": 2.5, "eggs": 3, "pot": None, "salted": False}
    assert [type(value) for value in told.values()] == [float, int, type(None), bool]


def test_repr_is_one_line_with_what_differs_from_the_defaults():
    assert repr(Cooking()) == "Cooking()"
    assert repr(Cooking(eggs=3, minutes=4.0, salted=True)) == "Cooking(eggs=3, salted=True)"
    many = ar.SearchSettings(relu_budget=9, cost={f"stages.{i}.relu": 2.0 for i in range(100)})
    assert "\n" not in repr(many) and len(repr(many)) < 200


def test_objects_are_values():
    once = Cooking(eggs=3)
    assert once == Cooking(eggs=3) != Cooking() and hash(once) == hash(Cooking(eggs=3))
    assert copy.deepcopy(once) == pickle.loads(pickle.dumps(once)) == once
    with pytest.raises(AttributeError):
        once.eggs = 4
    assert once.replace(minutes=6) == Cooking(eggs=3, minutes=6) and once.minutes == 4


def test_the_docstring_has_every_field_with_its_range_and_default():
    assert "How an egg is boiled." in Cooking.__doc__
    assert "minutes (a number above 0; default 4.0): From when it boils, at sea level." in Cooking.__doc__
    assert module.meanings(Cooking) == {"minutes": "From when it boils, at sea level.", "eggs": "How many."}


def test_without_a_source_there_is_a_class_without_meanings(monkeypatch):
    monkeypatch.setitem(sys.modules, "frozen", type(sys)("frozen"))
    monkeypatch.setattr(Cooking, "__module__", "frozen")
    assert module.meanings(Cooking) == {} and Cooking(eggs=3).eggs == 3


def test_a_link_is_kept_as_its_numbers_and_read_from_them():
    told = ar.SearchSettings(latency_ms=50, network=ar.Network(15, 50)).to_dict()
    assert told["network"] == {"rtt_ms": 15.0, "mbps": 50.0}
    assert ar.SearchSettings.from_dict(told).network == ar.Network(15, 50)


@pytest.mark.parametrize("wrong, message", [
    ({"relu_budget": -1}, "relu_budget must be a whole number of at least 0, got -1"),
    ({"relu_budget": 2.0}, "relu_budget must be a whole number"),
    ({"latency_ms": 0}, "latency_ms must be a number above 0, got 0"),
    ({"relu_budget": 9, "offline_mb": 3}, "not both"),
    ({"relu_budget": 9, "total_ms": 3}, "not both"),
    ({"total_ms": 9, "method": "snl"}, "method='autorep'"),
    ({"latency_ms": 9, "method": "snl"}, "method='autorep'"),
    ({"latency_ms": 9, "cost": {"relu": 2}}, "the plan says what costs"),
])  # fmt: skip
def test_limits_that_cannot_be_are_errors_of_the_budget(wrong, message):
    with pytest.raises(BudgetError, match=message):
        ar.SearchSettings(**wrong)


def test_a_device_of_torch_is_its_name():
    kinds = ar.TransformSettings, ar.FinetuneSettings, ar.SearchSettings
    for kind in kinds:
        told = kind(device=torch.device("cuda", 1))
        assert told.device == told.to_dict()["device"] == "cuda:1" and kind.from_dict(told.to_dict()) == told
        assert kind(device=torch.device("meta")) == kind(device="meta")
    with pytest.raises(ValueError, match="device must be"):
        ar.TransformSettings(device=0)


def test_where_a_run_is_computed_is_no_part_of_what_it_ends_with():
    for kind in (ar.FinetuneSettings, ar.SearchSettings):
        assert kind(device="cuda:1").deciding() == kind().deciding()
