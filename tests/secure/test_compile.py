"""How compiling shows that it goes on, and what is said where it is stopped."""

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx import progress
from autorep_fx.secure.planner import precise


@pytest.fixture(scope="module")
def gm():
    torch.manual_seed(0)
    return ar.transform(nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU()), example_inputs=torch.rand(2, 4, 4))


def test_a_long_compilation_prints_a_line_a_step_where_there_is_no_terminal(gm, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    x = torch.rand(32, 4, 4)
    ar.compile(gm, x)
    said = capsys.readouterr().err.splitlines()
    steps = [line.removeprefix("compile, step ") for line in said]
    known = ["1: lowered", "2: ranges are known", "3: roundings are known", "4: extreme inputs are known"]
    asked = [line for line in steps if not line.endswith(("are looked for", "are looked at"))]  # a step that goes on
    assert asked[:4] == known
    assert asked[4:] and all(line.endswith("a plan is made") for line in asked[4:])
    ar.compile(gm, x, progress=False)
    assert capsys.readouterr().err == ""


def test_a_compilation_that_is_stopped_says_that_nothing_is_kept(gm, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(precise, "precise", stopped)
    with pytest.raises(KeyboardInterrupt, match="^compile was stopped; nothing is kept of it, .* begins anew$"):
        ar.compile(gm, torch.rand(32, 4, 4))
