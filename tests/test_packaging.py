"""What the package's metadata promise."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_python_and_torch_have_a_lower_bound_and_no_upper_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (torch,) = (d for d in project["dependencies"] if d.startswith("torch"))
    assert (project["requires-python"], torch) == (">=3.11", "torch>=2.13")
