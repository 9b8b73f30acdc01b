"""What `import autorep_fx` loads and offers, and that who needs no torch imports none."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import autorep_fx as ar
from autorep_fx import errors
from autorep_fx.graph import activations, finish, names
from autorep_fx.secure.program.outputs import FINISHES

#: What takes long to import, and no party needs.
HEAVY = ("torch", "scipy", "matplotlib", "networkx", "sklearn", "pandas", "crypten")

#: Makes torch, and whatever else is heavy, impossible to import.
WITHOUT = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] not in {HEAVY}, f"{{name}} is imported"
sys.meta_path.insert(0, Refuse())
"""

ROOT = Path(ar.__file__).parent
INIT = ast.parse((ROOT / "__init__.py").read_text())

#: Every module of the package, by its name without the package's.
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
           for path in ROOT.rglob("*.py")}  # fmt: skip


def python(code: str, *arguments: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded(code: str) -> set[str]:
    """Which of the heavy ones are loaded behind this code."""
    return set(python(f"{code}\nimport sys\nprint(*sys.modules)").split()) & set(HEAVY)


def test_the_import_alone_loads_nothing_heavy():
    assert loaded("import autorep_fx as ar; ar.PartyError, ar.Network, ar.kernels, ar.secure, dir(ar)") == set()
    assert "torch" in loaded("import autorep_fx as ar; ar.transform")


def test_every_public_name_is_loaded_when_it_is_used():
    everything = python("from autorep_fx import *\nprint(*globals())").split()
    assert set(ar.__all__) <= set(everything)
    for name in ar.__all__:
        found = getattr(ar, name)
        assert found.__name__ == name and found.__module__.startswith("autorep_fx.")


def test_the_names_are_the_same_to_a_type_checker():
    """The imports that only a type checker sees are those that are made, of the same modules."""
    (guarded,) = (node for node in INIT.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert seen == ar._HOMES
    of_errors = {name for name in ar.__all__ if hasattr(errors, name)}
    assert sorted({*seen} | of_errors) == ar.__all__ == sorted(ar.__all__)
    assert set(ar.__all__) <= set(dir(ar)) and {"secure", "models", "__version__"} <= set(dir(ar))


def test_what_a_user_may_have_to_catch_is_at_the_top():
    internal = {"PeerLost"}
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)} - internal
    assert raised <= set(ar.__all__) and all(getattr(ar, name) is getattr(errors, name) for name in raised)


@pytest.mark.parametrize("name", ["inspect", "search", "transform"])
def test_importing_a_module_does_not_hide_the_function_of_its_name(name):
    found = python(f"import autorep_fx.{name}, autorep_fx as ar\n"
                   f"from autorep_fx import {name}\nprint(ar.{name} is {name}, callable({name}))")  # fmt: skip
    assert found == "True True"


def test_folders_are_there_without_an_import_of_their_own_and_other_names_are_not():
    assert python("import autorep_fx as ar; print(ar.models.__name__, ar.errors.__name__)") == (
        "autorep_fx.models autorep_fx.errors"
    )
    with pytest.raises(AttributeError, match="module 'autorep_fx' has no attribute 'transfrom'"):
        ar.transfrom  # noqa: B018


def test_the_version_is_written_once_and_printed_without_torch():
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "autorep_fx.__version__"
    code = "import runpy, sys\nsys.modules['torch'] = None\nsys.argv[1:] = ['--version']\n"
    assert python(f"{code}runpy.run_module('autorep_fx', run_name='__main__')") == f"autorep_fx {ar.__version__}"


@pytest.mark.parametrize("module", ["secure.host.process", "service.commands", "service.client", "cli"])
def test_parties_and_services_import_nothing_heavy(module):
    assert loaded(f"{WITHOUT}\nimport autorep_fx.{module}") == set()
    with pytest.raises(AssertionError, match="torch is imported"):  # the test can fail
        loaded(f"{WITHOUT}\nimport autorep_fx.transform")


def modules_from(*names: str) -> set[str]:
    """All modules of the package that these import at their top, and those that those do, and so on."""
    found: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imported_at_the_top(name)
    return found


def imported_at_the_top(name: str) -> list[str]:
    path = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" and name else name.split(".")[:-1]
    found = [".".join(package[:i]) for i in range(len(package) + 1)]  # the folders that it lies in
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(filter(None, [*package[: len(package) - node.level + 1], node.module]))
            found += [
                inner if (inner := f"{base}.{alias.name}".strip(".")) in MODULES else base for alias in node.names
            ]
    return found


def test_no_module_behind_a_party_or_a_service_names_anything_heavy_at_its_top():
    behind = modules_from("secure.host.process", "service.commands", "cli")
    assert {"secure.parties.client", "secure.makers.table", "secure.plan.validate", "service.dealer"} <= behind
    for name in behind:
        for node in ast.parse(MODULES[name].read_text()).body:
            given = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)]
            assert not {str(g).partition(".")[0] for g in given} & {*HEAVY}, f"{name} imports {given}"


def test_the_names_that_files_use_are_those_of_the_graph():
    assert names.KINDS == tuple(dict.fromkeys(kind for kind, _ in activations._FUNCTIONS))
    assert {*finish.FUNCTIONS.values()} == {*finish.MODULES.values()} == {*names.FINISHES} == {*FINISHES}
