"""What a new interpreter does that a supervisor started: it calls the one function that it was told to.

It imports neither torch nor the user's main module, if that function does not.
"""

from __future__ import annotations

import importlib
import os
import pickle
import socket
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from .memory import keep_memory
from .report import Report


@dataclass(frozen=True)
class Handed:
    """A socket among the arguments; its descriptor was handed over."""

    descriptor: int


def enter(pipe: Connection, lifeline: Connection) -> None:
    """Call what the pipe says, ``(name, module, function, arguments)``: ``function(pipe, *arguments)``.

    Args:
        lifeline: of the launcher, which says nothing over it; it ends when the launcher does.
    """
    keep_memory()
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    name, module, function, data = pipe.recv()
    try:
        main = getattr(importlib.import_module(module), function)
        arguments = [_received(argument) for argument in pickle.loads(data)]
    except Exception as error:
        text = f"its process cannot import {module}: {type(error).__name__}: {error}"
        pipe.send(Report(name, error=text, trace=traceback.format_exc()))
        raise SystemExit(1) from None
    main(pipe, *arguments)


def _received(argument: Any) -> Any:
    return socket.socket(fileno=argument.descriptor) if isinstance(argument, Handed) else argument


def _end_with(lifeline: Connection) -> None:
    # Whoever is killed cannot end its parties; one that waits for a peer would stay until its timeout.
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
