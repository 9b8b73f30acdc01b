"""What a type checker says of the package, and what the package says to the type checkers of others."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import autorep_fx

ROOT = Path(__file__).resolve().parents[1]


def test_the_package_says_that_it_is_typed():
    assert (Path(autorep_fx.__file__).parent / "py.typed").exists()


@pytest.mark.slow
def test_no_kind_of_error_is_allowed_in_a_folder_that_has_none(tmp_path):
    """mypy without the allowances of pyproject.toml: each of them must be of something that it finds then."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    allowed = {(s["module"], code) for s in settings for code in s.get("disable_error_code", ())}
    strict = tmp_path / "pyproject.toml"
    strict.write_text(re.sub(r"disable_error_code = \[[^]]*\]", "", (ROOT / "pyproject.toml").read_text()))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", strict], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    errors = re.findall(r"^(\S+?)(?:/__init__)?\.py:\d+: error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    found = {(path.replace("/", "."), code) for path, code in errors}
    unused = {(module, code) for module, code in allowed
              if not any(code == kind and _covers(module, name) for name, kind in found)}  # fmt: skip
    assert not unused, f"remove from pyproject.toml: {sorted(unused)}"


def _covers(pattern: str, module: str) -> bool:
    """Whether mypy's pattern is for a module: `a.b.*` is for a.b and all below it."""
    return fnmatch(module, pattern) or f"{module}.*" == pattern
