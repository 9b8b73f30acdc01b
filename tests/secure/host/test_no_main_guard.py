"""Parties run from whatever a user calls them in, and what the user wrote runs once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from native_runs import compiled
from networks import images
from torch import nn

from autorep_fx.errors import MissingDependency
from autorep_fx.secure.crypten.compat import load_crypten
from autorep_fx.secure.program.plaintext import execute

#: What a user may write at the top of a file: it says that it runs, and has no `if __name__ == "__main__":`.
TRACED = """
with open("ran", "a") as file:
    print(__name__, file=file)
"""

#: Three parties, of a program that is there, and no torch anywhere.
ANSWER = f"""{TRACED}
import numpy as np
from autorep_fx.secure.files import load_served
from autorep_fx.secure.host.session import Session

def answer():
    served, numbers = load_served("program")
    with Session(served.plan, numbers, timeout=60) as session:
        np.save("y.npy", session.run(np.load("x.npy"))[0])
"""

IN_A_THREAD = """
import threading
errors = []
threading.excepthook = lambda arguments: errors.append(arguments.exc_value)
thread = threading.Thread(target=answer)
thread.start()
thread.join()
assert not errors, errors
"""

#: As of multiprocessing.Pool.
IN_A_DAEMONIC_WORKER = """
import multiprocessing
worker = multiprocessing.get_context("fork").Process(target=answer, daemon=True)
worker.start()
worker.join()
assert worker.exitcode == 0
"""

#: A main module without a file, whose cells are compiled one after the other while an event loop runs.
IN_A_NOTEBOOK = """
import asyncio, code, sys
source = sys.stdin.read()
del globals()["__file__"]

async def cells():
    shell = code.InteractiveInterpreter(globals())
    shell.runsource(source, "<cell 1>", "exec")
    shell.runsource("answer()", "<cell 2>", "exec")

asyncio.run(cells())
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A folder with a program and an input; and what it answers."""
    folder, x = tmp_path_factory.mktemp("here"), images(2)
    made = compiled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), images(64))
    made.save(folder / "program")
    np.save(folder / "x.npy", x.double().numpy())
    return folder, execute(made, x).numpy()


def run(folder: Path, *command: str, text: str | None = None) -> None:
    command = (sys.executable, *command)
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("code, command", [
    (f"{ANSWER}\nanswer()", ["script.py"]),
    (f"{ANSWER}\nanswer()", ["-m", "script"]),
    (f"{ANSWER}\nanswer()", ["-"]),
    (f"{ANSWER}\nanswer()", ["-c"]),
    (f"{ANSWER}\n{IN_A_THREAD}", ["script.py"]),
    (f"{ANSWER}\n{IN_A_DAEMONIC_WORKER}", ["script.py"]),
    (ANSWER, ["notebook.py"]),
    (f"{ANSWER}\ndef test(): answer()", ["-m", "pytest", "-q", "-p", "no:cacheprovider", "script.py"]),
], ids=["script", "module", "standard input", "-c", "thread", "daemonic worker", "notebook", "pytest"])  # fmt: skip
def test_what_the_user_wrote_runs_once(program, code, command):
    folder, answer = program
    for name in ("ran", "y.npy"):
        (folder / name).unlink(missing_ok=True)
    (folder / "script.py").write_text(code)
    (folder / "notebook.py").write_text(IN_A_NOTEBOOK)
    read = command in (["-"], ["notebook.py"])
    run(folder, *command, *([code] if command == ["-c"] else []), text=code if read else None)
    assert len((folder / "ran").read_text().splitlines()) == 1
    assert np.abs(np.load(folder / "y.npy") - answer).max() < 0.05


TEN_LINES = f"""{TRACED}
import torch
import autorep_fx as ar
torch.manual_seed(0)
x = torch.randn(16, 8)
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
gm = ar.transform(model, calibration=x)
program = ar.compile(gm, x)
result = program.run(x[:2], backend=BACKEND)
assert (result.output - model(x[:2])).abs().max() < 0.05, result.output
"""


@pytest.mark.parametrize("backend", ["native", "crypten"])
def test_a_script_of_ten_lines_runs_once_on_either_backend(backend, tmp_path):
    if backend == "crypten":
        try:
            load_crypten()
        except MissingDependency as missing:
            pytest.skip(str(missing))
    (tmp_path / "script.py").write_text(TEN_LINES.replace("BACKEND", repr(backend)))
    run(tmp_path, "script.py")
    assert (tmp_path / "ran").read_text() == "__main__\n"
