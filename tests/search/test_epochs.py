"""What a run shows of itself while it runs, and what it says when it is stopped."""

import logging
import re
import sys
import textwrap
import types
from pathlib import Path

import pytest
import torch
from torch import nn

import autorep_fx as ar


def hybrid():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 3))
    return ar.transform(net, calibration=torch.randn(64, 4, 4))


def batches():
    return [(torch.randn(16, 4, 4), torch.randint(0, 3, (16,))) for _ in range(3)]


class Stopped(list):
    """A loader that is interrupted in the second epoch."""

    def set_epoch(self, epoch):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("entry, told", [(ar.finetune, {}), (ar.search, {"relu_budget": 5})])
def test_every_epoch_is_a_line_where_there_is_no_terminal(capsys, entry, told):
    history = entry(hybrid(), batches(), batches(), epochs=3, **told)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert f"loss {history.loss[-1]:.4f}" in lines[-1] and f"validation {history.val_accuracy[-1]:.4f}" in lines[-1]
    assert lines[-1].endswith(f"ReLUs {history.relus[-1]}")


def test_nothing_is_printed_for_who_wants_nothing(capsys):
    ar.finetune(hybrid(), batches(), epochs=2, progress=False)
    assert capsys.readouterr() == ("", "")


def test_the_log_has_a_line_an_epoch(caplog):
    with caplog.at_level(logging.INFO, "autorep_fx"):
        ar.finetune(hybrid(), batches(), epochs=2, progress=False)
    assert [m.split(":")[0] for m in caplog.messages if m.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]


@pytest.mark.parametrize("entry, told", [(ar.finetune, {}), (ar.search, {"relu_budget": 5})])
def test_a_callback_gets_every_epoch_as_a_plain_dict(entry, told):
    seen = []
    history = entry(hybrid(), batches(), batches(), epochs=3, on_epoch=seen.append, progress=False, **told)
    assert [(found["epoch"], found["epochs"]) for found in seen] == [(1, 3), (2, 3), (3, 3)]
    for name in ("loss", "accuracy", "val_accuracy", "relus"):
        assert [found[name] for found in seen] == getattr(history, name)
    assert all(type(found) is dict and {*map(type, found.values())} <= {int, float} for found in seen)
    entry(hybrid(), batches(), epochs=1, on_epoch=seen.append, progress=False, **told)
    assert "val_accuracy" not in seen[-1]


def test_the_example_of_the_docs_logs_every_epoch(monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    (example,) = re.findall(r"^  ```python\n(  import wandb\n.*?)^  ```$", page, re.M | re.S)
    lines = [line for line in textwrap.dedent(example).splitlines() if line]
    assert len(lines) == 3
    runs, logged = [], []
    wandb = types.SimpleNamespace(init=lambda **told: runs.append(told), log=logged.append)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    short = ar.SearchSettings(relu_budget=5, epochs=2, progress=False)
    exec("\n".join(lines), {"ar": ar, "gm": hybrid(), "train": batches(), "val": batches(), "short": short})
    assert runs[0]["config"]["epochs"] == 2
    assert [found["epoch"] for found in logged] == [1, 2] and {"loss", "val_accuracy", "relus"} <= logged[0].keys()


def test_a_callback_may_stop_a_run_and_the_epoch_is_kept(tmp_path):
    def enough(found):
        raise StopIteration(found["epoch"])

    told = {"epochs": 3, "checkpoint_dir": tmp_path, "progress": False}
    with pytest.raises(StopIteration, match="1"):
        ar.finetune(hybrid(), batches(), on_epoch=enough, **told)
    seen = []
    ar.finetune(hybrid(), batches(), on_epoch=seen.append, resume=True, **told)
    assert [found["epoch"] for found in seen] == [2, 3]


@pytest.mark.parametrize("entry, told", [(ar.finetune, {}), (ar.search, {"relu_budget": 5})])
def test_an_interrupted_run_says_in_one_line_how_it_goes_on(tmp_path, entry, told):
    with pytest.raises(KeyboardInterrupt, match="^stopped in epoch 2 of 3; with checkpoint_dir=... it could go on"):
        entry(hybrid(), Stopped(batches()), epochs=3, progress=False, **told)
    with pytest.raises(KeyboardInterrupt, match="^stopped in epoch 2 of 3; resume=True goes on .* is in ") as stopped:
        entry(hybrid(), Stopped(batches()), epochs=3, checkpoint_dir=tmp_path, progress=False, **told)
    assert str(stopped.value).endswith(str(tmp_path)) and "\n" not in str(stopped.value)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_training_turns_gradients_on_for_itself(off):
    images, labels = torch.randn(32, 12), torch.randint(0, 3, (32,))
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    gm = ar.transform(model, calibration=(images, labels), relu_budget=8)
    before = {name: value.clone() for name, value in gm.named_parameters()}
    with off():
        ar.finetune(gm, [(images, labels)], epochs=1)
    assert any(not torch.equal(value, before[name]) for name, value in gm.named_parameters())
