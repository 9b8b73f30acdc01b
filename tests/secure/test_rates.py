"""The rates of the machine are measured once, and kept where they can be."""

import json
from dataclasses import asdict

import pytest

from autorep_fx import kernels
from autorep_fx.secure import rates
from autorep_fx.secure.rates import Rates

pytestmark = pytest.mark.skipif(not kernels.available(), reason="the compiled kernels are not built")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rates._of_this_machine.cache_clear()
    yield tmp_path / "autorep_fx"
    rates._of_this_machine.cache_clear()


def test_they_are_measured_and_kept(folder, monkeypatch):
    found = Rates.measured()
    assert all(value > 0 for value in asdict(found).values())
    assert found.macs32 > found.macs and found.gen_blocks32 > found.gen_blocks
    (path,) = folder.iterdir()
    assert json.loads(path.read_text()) == asdict(found)
    rates._of_this_machine.cache_clear()
    monkeypatch.setattr(rates, "_measure", lambda: pytest.fail("they are there"))
    assert Rates.measured() == found


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"macs": "fast"}', "null"])
def test_a_damaged_file_is_measured_anew(folder, monkeypatch, text):
    monkeypatch.setattr(rates, "_measure", lambda: Rates(macs=1.0))
    Rates.measured()
    (path,) = folder.iterdir()
    path.write_text(text)
    rates._of_this_machine.cache_clear()
    assert Rates.measured().macs == 1.0 and json.loads(path.read_text())["macs"] == 1.0


def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch, tmp_path, folder):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(rates, "_measure", Rates)
    assert Rates.measured() == Rates()
