"""What processes do in the tests of their supervisor. They import this file by name."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from autorep_fx.secure.host.report import Report


def answer(pipe, name, seconds=0.0):
    """Answer every request with its number, after so long."""
    while (number := pipe.recv()) is not None:
        time.sleep(seconds)
        pipe.send(Report(name, "done", number))


def complain(pipe, name, seconds, text, lost):
    """Fail after so long, and stay until nobody listens."""
    time.sleep(seconds)
    pipe.send(Report(name, error=text, trace="where it was", lost=lost))
    pipe.poll(None)


def die(pipe, name, seconds, how):
    time.sleep(seconds)
    os.kill(os.getpid(), how) if isinstance(how, signal.Signals) else os._exit(how)


def look(pipe, name):
    """Say what this process is like."""
    flags = ("safe_path", "no_user_site", "dont_write_bytecode")
    found = {
        "package": sys.modules["autorep_fx"].__file__,
        "modules": {key: getattr(module, "__file__", None) for key, module in sys.modules.items()},
        "main": getattr(sys.modules["__main__"], "__file__", None),
        "stdin": sys.stdin.read(),
        "environment": dict(os.environ),
        "flags": {flag: getattr(sys.flags, flag) for flag in flags},
        "arguments": sys.argv,
    }
    pipe.send(Report(name, "done", trace=json.dumps(found)))
