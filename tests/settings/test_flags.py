"""Options as flags: the same names and values as in code, and the nearest of one that there is not."""

import pytest

import autorep_fx as ar
from autorep_fx.settings.flags import Parser, add_flags, given


def parsed(*arguments, kind=ar.SearchSettings):
    parser = Parser("try")
    add_flags(parser, kind)
    return kind.from_dict(given(parser.parse_args(arguments), kind.names()))


def test_flags_have_the_names_of_the_class_and_what_is_not_given_keeps_its_default():
    assert parsed() == ar.SearchSettings()
    told = parsed(
        "--relu-budget", "9", "--lr", "0.5", "--method", "snl", "--growth", "none", "--compile", "--no-mixed",
        "--cost", '{"relu": 2.5}', "--checkpoint-dir", "here",
    )  # fmt: skip
    assert told == ar.SearchSettings(
        relu_budget=9, lr=0.5, method="snl", growth=None, compile=True, mixed=False, cost={"relu": 2.5},
        checkpoint_dir="here",
    )  # fmt: skip
    assert parsed("--device", "cuda:1") == ar.SearchSettings(device="cuda:1")
    assert parsed("--no-reconstruct", "--degree", "3", kind=ar.TransformSettings) == ar.TransformSettings(degree=3)


@pytest.mark.parametrize("arguments, message", [
    (("--epohcs", "3"), "unrecognized arguments: --epohcs; did you mean --epochs?"),
    (("folder",), "unrecognized arguments: folder; it takes them as options, which --help lists"),
    (("--relu-buget=3",), "did you mean --relu-budget?"),
    (("--lr", "fast"), "argument --lr: invalid number value: 'fast'"),
    (("--epochs", "none"), "argument --epochs: invalid whole number value: 'none'"),
    (("--cost", "{"), "argument --cost: invalid JSON value: '{'"),
])  # fmt: skip
def test_a_flag_that_cannot_be_is_one_line_with_the_way_out(capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]


def test_the_help_has_what_the_class_says(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        parsed("--help")
    shown = capsys.readouterr().out
    assert (
        "--epochs N" in shown
        and "Passes over the training batches in all (a whole number of at least 1; default 20)" in shown
    )
    assert "--growth X" in shown and "(a number above 0 or None; default 0.5)" in shown
    assert ":func:" not in shown and "``" not in shown
