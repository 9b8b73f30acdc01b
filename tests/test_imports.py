"""What `import autorep_fx` loads and offers, and that who needs no torch imports none."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import autorep_fx as ar
from autorep_fx import errors

#: What takes long to import, and no party needs.
HEAVY = ("torch", "scipy", "matplotlib", "networkx", "sklearn", "pandas", "crypten")

INIT = ast.parse(Path(ar.__file__).read_text())


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
    project = tomllib.loads((Path(ar.__file__).parents[1] / "pyproject.toml").read_text())
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "autorep_fx.__version__"
    code = "import runpy, sys\nsys.modules['torch'] = None\nsys.argv[1:] = ['--version']\n"
    assert python(f"{code}runpy.run_module('autorep_fx', run_name='__main__')") == f"autorep_fx {ar.__version__}"
