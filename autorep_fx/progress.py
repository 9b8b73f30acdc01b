"""How long work shows that it goes on: bars on a terminal, and a line now and then where there is none."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, Self

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # in a notebook without ipywidgets a bar is text, and that is all
    from tqdm.auto import tqdm

#: Seconds between two lines about steps, of which some take milliseconds and others minutes.
EVERY = 2.0


def progress_bar(
    items: Iterable | None, title: str, progress: bool | None, unit: str = "it", total: int | None = None
) -> Any:
    """``items`` under a bar of tqdm, or the bar alone. progress: show it; None shows it on a terminal only."""
    if total is None and isinstance(items, Sized):
        total = len(items) or None
    disable = None if progress is None else not progress
    return tqdm(items, title, total, disable=disable, unit=unit, leave=False)


def say(log: logging.Logger, text: str, bar: Any, progress: bool | None) -> None:
    """Log how far a long work is, and where no bar was shown for want of a terminal, print it to standard error.

    Once: where somebody reads the log, nothing is printed.

    Args:
        bar: of :func:`progress_bar`, for this ``progress``.
    """
    if log.isEnabledFor(logging.INFO):
        log.info("%s", text)
    elif progress is None and bar.disable:
        print(text, file=sys.stderr, flush=True)


class Steps:
    """Work in steps: a bar, and a line every ``EVERY`` seconds for whoever sees none (:func:`say`).

    A step that takes long says so itself (:meth:`alive`). Work that is done sooner says nothing, nor does any with
    ``progress=False``.
    ``with Steps(log, "plan", None) as steps: ...; steps.done("a plan")``

    Args:
        title: of the work; unit: of a step; total: how many steps there will be, where that is known.
    """

    def __init__(
        self, log: logging.Logger, title: str, progress: bool | None, unit: str = "step", total: int | None = None
    ):
        self.log, self.title, self.progress, self.unit, self.total = log, title, progress, unit, total
        self.bar = progress_bar(None, title, progress, unit, total)
        self.count, self.said = 0, time.monotonic()

    def done(self, text: str = "") -> None:
        """A step is; ``text``: what came of it."""
        self.count += 1
        if text:
            self.bar.set_postfix_str(text, refresh=False)
        self.bar.update()
        self._line(self.count, text)

    def alive(self, text: str) -> None:
        """A step goes on; ``text``: what it is about."""
        self._line(self.count + 1, text)

    def _line(self, count: int, text: str) -> None:
        if self.progress is not False and time.monotonic() - self.said >= EVERY:
            self.said = time.monotonic()
            of = f" of {self.total}" if self.total else ""
            found = f": {text}" if text else ""
            say(self.log, f"{self.title}, {self.unit} {count}{of}{found}", self.bar, self.progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()


def stepwise(log: logging.Logger, items: Iterable, title: str, progress: bool | None, unit: str) -> Iterator[Any]:
    """``items``, each of them a step."""
    total = len(items) or None if isinstance(items, Sized) else None
    with Steps(log, title, progress, unit, total) as steps:
        for item in items:
            yield item
            steps.done()


@contextmanager
def stopping(text: str) -> Iterator[None]:
    """Where the work inside is interrupted, that says in one line how to go on: as the outermost of these has it."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None
