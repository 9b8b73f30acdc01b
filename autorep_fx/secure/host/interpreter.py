"""New interpreters that call a function, and find the packages that this one has found."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Hashable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.spawn import get_executable
from typing import Any

from ...errors import PartyError
from .entry import Handed

_PACKAGE = __name__.partition(".")[0]

#: What a new interpreter runs. It finds modules where this one does, this very package where this one has found it,
#: and imports no main module. The first line is for Ctrl-C, which goes to all processes of a terminal: the launcher
#: decides what it ends.
_BOOT = f"""
import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)
from multiprocessing.connection import Connection
pipe, lifeline = (Connection(int(descriptor)) for descriptor in sys.argv[1:3])
sys.path[:], above, places = pipe.recv()
from importlib import machinery, util
spec = machinery.PathFinder.find_spec("{_PACKAGE}", above); spec.submodule_search_locations[:] = places
package = sys.modules["{_PACKAGE}"] = util.module_from_spec(spec); spec.loader.exec_module(package)
from {_PACKAGE}.secure.host.entry import enter
enter(pipe, lifeline)
""".strip()


class Interpreter:
    """A process of its own, as multiprocessing's are to whoever started them: pid, exitcode, join, kill.

    Args:
        name: shown among the arguments of the process.
        main: a function of a module, called as ``main(pipe, *arguments)``.
        arguments: pickled; sockets are handed over.

    Attributes:
        pipe: this end of the one that ``main`` gets, until it ends.

    Raises:
        PartyError: no interpreter can be started from here; says what to do.
        OSError: the system refuses.
    """

    def __init__(self, name: Hashable, main: Callable, *arguments: Any):
        executable = _executable(name)
        handed = [a.fileno() for a in arguments if isinstance(a, socket.socket)]
        data = pickle.dumps([Handed(a.fileno()) if isinstance(a, socket.socket) else a for a in arguments])
        pipe, theirs = Pipe()
        self.pipe: Connection | None = pipe
        self._lifeline, end = Pipe()
        self._ended, self._closing = threading.Event(), threading.Lock()
        try:
            self._process = subprocess.Popen(
                [executable, *_flags(), "-c", _BOOT, str(theirs.fileno()), str(end.fileno()), str(name)],
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno(), end.fileno(), *handed],
            )  # fmt: skip
        except BaseException:
            pipe.close()
            self._lifeline.close()
            raise
        finally:  # so that those of a process that died read as closed
            theirs.close()
            end.close()
        with contextlib.suppress(OSError):  # it died already, as its end will show
            pipe.send(_places())
            pipe.send((name, main.__module__, main.__qualname__, data))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """None while it lives; negative: the signal that it died of."""
        return self._process.returncode

    def join(self, timeout: float | None = None) -> None:
        """Wait until it was seen to end (:meth:`see_end`), or so many seconds."""
        self._ended.wait(timeout)

    def see_end(self) -> None:
        """Wait until it ends. To be called by a thread that has nothing else to do."""
        self._process.wait()
        with self._closing:
            self.pipe = None  # who reads or writes it has it still
            self._lifeline.close()  # nothing, the second time
        self._ended.set()

    def kill(self) -> None:
        self._process.kill()

    def let_go(self) -> None:
        """In a fork of the launcher: the process ends with the launcher, whether or not its forks live on."""
        for end in (self.pipe, self._lifeline):
            if end is not None:
                with contextlib.suppress(OSError):  # it was being closed
                    end.close()


def _executable(name: Hashable) -> str:
    # multiprocessing.set_executable is where a program that is no interpreter says which one is to be used.
    found = os.fsdecode(get_executable() or "")
    if getattr(sys, "frozen", False) and found == sys.executable:
        raise PartyError(
            f"{name}: a frozen program has no interpreter that its parties could be started with. Say which one by "
            "multiprocessing.set_executable(path of a Python that has autorep_fx), or let `python -m autorep_fx serve` "
            "and `deal` run as services, and ask them by autorep_fx.connect"
        )
    if not found:
        raise PartyError(f"{name}: no interpreter is known; say which one by multiprocessing.set_executable(path)")
    return found


def _flags() -> list[str]:
    """-P: a file of the working directory is not taken for one of Python's. The others as they are here."""
    names = {"E": "ignore_environment", "s": "no_user_site", "S": "no_site", "B": "dont_write_bytecode"}
    return ["-P", *(f"-{letter}" for letter, name in names.items() if getattr(sys.flags, name))]


def _places() -> tuple[list[str], list[str], list[str]]:
    """Where modules are looked for here, Python's own first; the folders above this package; its own."""
    own = os.path.dirname(os.__file__)
    here = [path or os.getcwd() for path in sys.path if isinstance(path, str)]  # "" is where the launcher is now
    of_python = [path for path in here if path == own or os.path.basename(path) in ("lib-dynload", "DLLs")]
    package = [os.path.abspath(path) for path in sys.modules[_PACKAGE].__path__]
    others = [path for path in here if path not in of_python]
    return [*of_python, *others], [os.path.dirname(path) for path in package], package
