"""How long work shows that it goes on: bars on a terminal, and a line now and then where there is none."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Sized
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # in a notebook without ipywidgets a bar is text, and that is all
    from tqdm.auto import tqdm


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
