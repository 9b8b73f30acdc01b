"""Where a module is, where it is to be, and what a device may be called."""

import pytest
import torch
from torch import nn

from autorep_fx.graph.devices import autocast, autocasts, copy_at, device_of, usable


def test_where_a_module_is():
    assert device_of(nn.ReLU()) == torch.device("cpu")
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    norm = nn.BatchNorm1d(3, affine=False, device="meta")  # buffers alone
    assert device_of(norm) == torch.device("meta")


def test_a_copy_is_made_only_where_one_is_needed():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert copy_at(model, torch.device("cpu")) is model
    there = copy_at(model, torch.device("meta"))
    assert there is not model and {t.device.type for t in there.state_dict().values()} == {"meta"}
    assert {t.device.type for t in model.state_dict().values()} == {"cpu"}
    mixed = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, device="meta"))
    assert copy_at(mixed, torch.device("meta")) is not mixed


def test_a_device_has_its_number_and_one_that_there_is_not_is_an_error():
    assert usable(None) is None and usable("cpu") == torch.device("cpu")
    if torch.cuda.is_available():
        assert usable("cuda") == torch.device("cuda", torch.cuda.current_device())
    for name in ("hyperspace", "cuda:77", torch.device("cuda:77")):
        with pytest.raises(ValueError, match=f"device='{name}' is not to be had here: .*leave it out"):
            usable(name)


def test_a_device_without_autocast_has_none_to_switch_off():
    cpu, meta = torch.device("cpu"), torch.device("meta")
    with autocast(cpu, enabled=True):
        assert autocasts(cpu) and not autocasts(meta)
        with autocast(cpu, enabled=False), autocast(meta, enabled=False):
            assert not autocasts(cpu)
    with pytest.raises(RuntimeError, match="meta"):
        autocast(meta, enabled=True)
