"""Long work shows that it goes on, on a terminal or not, and once."""

import logging

from autorep_fx.progress import progress_bar, say

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
