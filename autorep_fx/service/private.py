"""Files and folders that are their owner's alone, whatever the umask: ledgers, seeds, keys, what is prepared."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
from pathlib import Path

from ..errors import FormatError

#: What others may do with a file, and what lets them put another one in its place.
_OTHERS, _WRITE = 0o077, 0o022

log = logging.getLogger(__name__)


def private_folder(folder: Path) -> None:
    """Make a folder, and what is missing above it, that nobody but its owner may enter.

    One that is there stays as it is, as it may hold what is for others, too; what is put there is private by itself.
    There is a warning if others may write to it: they could put a seed of theirs in the place of one.
    """
    for each in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        with contextlib.suppress(FileExistsError):  # another process was quicker
            each.mkdir(0o700)
            each.chmod(0o700)
    folder.mkdir(exist_ok=True)  # unless it is a file
    mode = folder.stat().st_mode
    if mode & _WRITE and not mode & stat.S_ISVTX:
        _warn_of(folder.absolute())


@functools.cache
def _warn_of(folder: Path) -> None:
    """Once, however much is put there."""
    log.warning("others may write to %s, and replace what lies there: chmod go-w %s", folder, folder)


def private_file(path: Path) -> None:
    """Make an empty file that nobody but its owner may read, if there is none; see to it that one is, otherwise.

    What an earlier version left open is closed, with a warning: refusing it would stop a service for what it has done
    itself, and bring back nothing that was read.

    Raises:
        FormatError: it is somebody else's.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
    except FileExistsError:
        make_private(path)


def make_private(path: Path) -> None:
    """As :func:`private_file`, of one that is there."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & _OTHERS:
        return
    try:
        path.chmod(mode & ~_OTHERS)
    except OSError as error:
        raise FormatError(f"{path} is open to others (mode {mode:o}), and cannot be closed: {error.strerror}; "
                          f"let its owner run the service, or take it away") from error  # fmt: skip
    log.warning("%s was open to others (mode %o), who may have read it; it is its owner's alone now", path, mode)
