"""Long work shows that it goes on, on a terminal or not, and once."""

import logging

import pytest

from autorep_fx import progress
from autorep_fx.progress import Steps, progress_bar, say, stepwise, stopping

log = logging.getLogger("autorep_fx.tried")


def test_where_there_is_no_terminal_a_line_is_printed_and_no_bar(capsys):
    bar = progress_bar([1, 2], "work", None)
    assert list(bar) == [1, 2]
    say(log, "half done", bar, None)
    assert capsys.readouterr().err == "half done\n"


def test_who_wants_nothing_gets_nothing(capsys):
    bar = progress_bar([1, 2], "work", False)
    say(log, "half done", bar, False)
    assert list(bar) == [1, 2] and capsys.readouterr() == ("", "")


def test_who_wants_a_bar_gets_it_everywhere_and_no_line(capsys):
    bar = progress_bar([1, 2], "work", True)
    say(log, "half done", bar, True)
    assert list(bar) == [1, 2]
    shown = capsys.readouterr().err
    assert "work" in shown and "half done" not in shown


def test_who_reads_the_log_has_the_line_there_and_only_there(capsys, caplog):
    with caplog.at_level(logging.INFO, "autorep_fx.tried"):
        say(log, "half done", progress_bar([1], "work", None), None)
    assert caplog.messages == ["half done"] and "half done" not in capsys.readouterr().out


@pytest.fixture
def at_once(monkeypatch):
    """A line after every step."""
    monkeypatch.setattr(progress, "EVERY", 0.0)


def test_steps_say_what_came_of_them_where_there_is_no_terminal(capsys, at_once):
    with Steps(log, "choice", None, "plan", total=2) as steps:
        steps.done("246 ms")
        steps.done()
    assert capsys.readouterr().err == "choice, plan 1 of 2: 246 ms\nchoice, plan 2 of 2\n"


def test_steps_that_are_quickly_done_say_nothing(capsys):
    assert list(stepwise(log, [1, 2], "work", None, "batch")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_step_that_takes_long_says_what_it_is_about(capsys, at_once):
    with Steps(log, "compile", None) as steps:
        steps.alive("plans are looked at")
        steps.done("a plan")
    assert capsys.readouterr().err == "compile, step 1: plans are looked at\ncompile, step 1: a plan\n"


def test_items_are_steps(capsys, at_once):
    assert list(stepwise(log, iter("ab"), "fit", None, "node")) == ["a", "b"]
    assert capsys.readouterr().err == "fit, node 1\nfit, node 2\n"


def test_an_interruption_says_how_to_go_on_as_the_outermost_work_does():
    with pytest.raises(KeyboardInterrupt, match="^the outer$"):
        with stopping("the outer"), stopping("the inner"):
            raise KeyboardInterrupt
    with pytest.raises(ValueError, match="another"), stopping("the outer"):
        raise ValueError("another")
