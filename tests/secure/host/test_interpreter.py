"""New interpreters: what they find, what they do not touch, and that they end."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types
import zipfile
from multiprocessing import spawn
from pathlib import Path

import pytest
import workers

import autorep_fx
from autorep_fx.errors import PartyError
from autorep_fx.secure.host import interpreter
from autorep_fx.secure.host.supervisor import Supervisor

PACKAGE = Path(autorep_fx.__file__).parent
TESTS = Path(workers.__file__).parent

#: Prints, as JSON, what a process that a supervisor starts says of itself.
LOOK = f"""
import sys
sys.path.append({str(TESTS)!r})
import time, workers
from autorep_fx.secure.host.supervisor import Supervisor
{{before}}
parties = Supervisor()
parties.start("a", workers.look, "a")
print(parties.collect({{{{("a", "done")}}}}, time.monotonic() + 30)[0].trace)
parties.close()
"""


def found_by(*command: str, before: str = "", folder: Path, path: str = "") -> dict:
    """What :data:`LOOK` prints, run by this command in this folder, with ``path`` for PYTHONPATH."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path:
        env["PYTHONPATH"] = path
    code = LOOK.format(before=before)
    command = command if command[-1] == "-" else (*command, "-c", code)
    done = subprocess.run(command, input=code, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def here(tmp_path) -> Path:
    """A folder where the package lies, too."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "autorep_fx").symlink_to(PACKAGE)
    return folder


def test_the_package_is_the_one_that_the_launcher_has_found(here, tmp_path):
    """In the working directory, by an edit of sys.path, by PYTHONPATH, in a zip; before what is installed."""
    assert found_by(sys.executable, folder=here)["package"] == str(here / "autorep_fx" / "__init__.py")
    assert found_by(sys.executable, "-", folder=here)["package"] == str(here / "autorep_fx" / "__init__.py")
    (tmp_path / "elsewhere").mkdir()
    insert = f"import sys; sys.path.insert(0, {str(here)!r}); exec(sys.stdin.read())"
    found = found_by(sys.executable, "-c", insert, "-", folder=tmp_path / "elsewhere")
    assert found["package"] == str(here / "autorep_fx" / "__init__.py")
    found = found_by(sys.executable, before="import os; os.chdir('..')", folder=here)
    assert found["package"] == str(here / "autorep_fx" / "__init__.py")
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for source in PACKAGE.rglob("*.py"):
            archive.write(source, Path("autorep_fx") / source.relative_to(PACKAGE))
    found = found_by(sys.executable, folder=tmp_path / "elsewhere", path=str(packed))
    assert found["package"] == str(packed / "autorep_fx" / "__init__.py")


def test_a_file_that_is_named_like_a_module_of_python_is_not_taken_for_it(here):
    """The launcher has imported its own by then; a party must neither run the file nor miss the module."""
    names = ("signal", "multiprocessing", "socket", "pickle", "random", "tempfile", "json", "logging", "queue")
    decoys = f"""
import pathlib
for name in {names}:
    pathlib.Path(name + ".py").write_text("import pathlib; pathlib.Path('fooled').touch()")
"""
    found = found_by(sys.executable, before=decoys, folder=here)
    assert not (here / "fooled").exists() and (here / "random.py").exists()
    assert not [path for path in found["modules"].values() if path and Path(path).parent == here]


def test_nothing_but_what_the_function_needs_is_imported(here):
    found = found_by(sys.executable, before="import this_is_main_s; sys.modules.pop('this_is_main_s')"
                     .replace("this_is_main_s", "colorsys"), folder=here)  # fmt: skip
    assert not {"torch", "numpy", "colorsys"} & {*found["modules"]}
    assert found["main"] is None and found["stdin"] == ""


def test_environment_flags_and_arguments(tmp_path):
    found = found_by(sys.executable, "-B", "-s", folder=tmp_path, path=str(PACKAGE.parent))
    assert found["environment"] == {**os.environ, "PYTHONPATH": str(PACKAGE.parent)} | {
        key: found["environment"][key] for key in ("PWD", "OLDPWD", "_", "LC_CTYPE") if key in found["environment"]
    }
    assert found["flags"] == {"safe_path": True, "no_user_site": 1, "dont_write_bytecode": 1}
    assert found["arguments"][-1] == "a"


def start(main=workers.answer, *arguments):
    parties = Supervisor()
    try:
        parties.start("a", main, *arguments)
    finally:
        parties.close(patience=0)
    return parties


def test_a_frozen_program_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(PartyError, match="a: a frozen program has no interpreter.*set_executable.*autorep_fx serve"):
        start()
    before = spawn.get_executable()
    real = os.path.realpath(sys.executable)
    try:  # and it does what it is told
        multiprocessing.set_executable(real)
        if real == sys.executable:
            pytest.skip("no other name of this interpreter")
        start(workers.answer, "a")
    finally:
        multiprocessing.set_executable(before)


def test_no_interpreter_and_one_that_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(interpreter, "get_executable", lambda: None)
    with pytest.raises(PartyError, match="a: no interpreter is known; say which one"):
        start()
    monkeypatch.setattr(interpreter, "get_executable", lambda: str(tmp_path / "python"))
    with pytest.raises(PartyError, match="a: its process cannot be started: .*No such file"):
        start()


def test_a_function_that_cannot_be_imported_is_named():
    module = types.ModuleType("of_the_launcher_alone")
    exec("def main(pipe): ...", vars(module))
    parties = Supervisor()
    parties.start("a", module.main)
    with pytest.raises(PartyError, match="a failed: its process cannot import of_the_launcher_alone: ModuleNotFound"):
        parties.collect({("a", "done")}, time.monotonic() + 30)


def test_an_interpreter_that_does_not_begin_says_so(monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(interpreter, "get_executable", lambda: str(broken))
    parties = Supervisor()
    parties.start("a", workers.answer, "a")
    with pytest.raises(PartyError, match="a failed: died with exit code 3 before it began; standard error may say why"):
        parties.collect({("a", "done")}, time.monotonic() + 30)


#: A launcher that has a fork of its own and is killed, while one of its parties waits and another one is busy.
KILLED = f"""
import os, sys, time
sys.path.append({str(TESTS)!r})
import workers
from autorep_fx.secure.host.supervisor import Supervisor
parties = Supervisor()
parties.start("a", workers.answer, "a")
parties.start("b", workers.answer, "b", 600.0)
parties.ask("b", 1)
parties.ask("a", 1)
parties.collect({{("a", "done")}}, time.monotonic() + 30, 1)
fork = os.fork()
if not fork:
    time.sleep(600)
print(fork, *(process.pid for process in parties.processes.values()), flush=True)
time.sleep(600)
"""


def test_a_launcher_that_is_killed_leaves_nobody_though_a_fork_of_it_lives_on():
    launcher = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    fork, *pids = map(int, launcher.stdout.readline().split())
    try:
        launcher.kill()
        launcher.wait()
        end = time.monotonic() + 20
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < end, "they are there still"
            time.sleep(0.02)
        assert alive(fork)
    finally:
        os.kill(fork, signal.SIGKILL)
        launcher.stdout.close()


def alive(pid: int) -> bool:
    """Whether it runs; a process that ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
