"""What is built for people who have neither the source tree nor a compiler."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_python_and_torch_have_a_lower_bound_and_no_upper_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (torch,) = (d for d in project["dependencies"] if d.startswith("torch"))
    assert (project["requires-python"], torch) == (">=3.11", "torch>=2.13")


@pytest.mark.slow
def test_wheel_runs_without_compiler_and_without_the_source_tree(tmp_path):
    subprocess.run(["make", "wheel"], cwd=ROOT, check=True)
    (wheel,) = (ROOT / "dist").glob("*.whl")
    assert "manylinux" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    kinds = (".py", ".typed", ".html", ".js", ".json")
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / "autorep_fx").rglob("*") if p.suffix in kinds}
    built = {n for n in names if n.startswith("autorep_fx/") and not n.endswith("/")}
    assert ours <= built and [Path(n).suffix for n in built - ours] == [".so"]
    assert any(n.startswith("autorep_fx.libs/libgomp") for n in names)
    assert any(n.endswith("licenses/LICENSE") for n in names)

    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = (sys.executable, "-m", "pip", "-qq", "install", "--no-deps")
    subprocess.run([*pip, "--target", installed, wheel], check=True)
    env = {**os.environ, "PATH": str(elsewhere), "PYTHONPATH": str(installed)}

    def python(*args: str) -> str:
        done = subprocess.run([sys.executable, *args], cwd=elsewhere, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import autorep_fx.kernels as kernels; print(kernels.__file__, kernels.available())"
    assert python("-c", where).split() == [str(installed / "autorep_fx" / "kernels" / "__init__.py"), "True"]
    assert "megabytes sent, native" in python("-m", "autorep_fx", "demo", "--images", "8")
