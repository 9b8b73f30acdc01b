"""Arguments of the two entries and their one home."""

import inspect
from dataclasses import fields

import pytest

import autorep_fx as ar
from autorep_fx.hybrid.fitting import Fitting
from autorep_fx.search.settings import Settings


@pytest.mark.parametrize("entry", [ar.search, ar.finetune])
def test_every_setting_is_an_argument_with_the_same_default(entry):
    arguments = inspect.signature(entry).parameters
    settings = {field.name: field.default for field in fields(Settings)}
    if entry is ar.search:
        assert settings.keys() - {"ease_in"} <= arguments.keys()  # masks that move ease in by themselves
    both = settings.keys() & arguments.keys() - {"epochs", "relu_budget"}
    assert all(arguments[name].default == settings[name] for name in both) and len(both) >= 16


def test_transform_takes_its_defaults_from_the_fitting():
    arguments = inspect.signature(ar.transform).parameters
    assert all(arguments[field.name].default == field.default for field in fields(Fitting))
