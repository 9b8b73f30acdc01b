"""Drafts: where a network of one form has no room for what examples bring, its price is that for smaller ones."""

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx import CompileError
from autorep_fx.forms.drafts import Drafts


def test_a_draft_that_has_no_room_is_made_for_smaller_examples(monkeypatch):
    """As where squares follow one another, which nobody has trained yet."""
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)),
        torch.randn(64, 6),
    )
    made, tried = Drafts._planned, []

    def narrow(drafts, program, times):
        tried.append(times)
        if times > 1 / 16:
            raise CompileError(f"no room for {times}")
        return made(drafts, program, times)

    monkeypatch.setattr(Drafts, "_planned", narrow)
    gm = ar.transform(model, calibration=x, latency_ms=150, network="wan", progress=False)
    assert gm.meta["predicted"]["latency_ms"] <= 150 and tried[:3] == [1, 1 / 4, 1 / 16]

    monkeypatch.setattr(Drafts, "_planned", lambda drafts, program, times: narrow(drafts, program, 1.0))
    with pytest.raises(CompileError, match="no room for 1.0"):
        ar.transform(model, calibration=x, latency_ms=150, network="wan", progress=False)
