"""What is built for people who have neither the source tree nor a compiler."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_python_and_torch_have_a_lower_bound_and_no_upper_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (torch,) = (d for d in project["dependencies"] if d.startswith("torch"))
    assert (project["requires-python"], torch) == (">=3.11", "torch>=2.13")


#: A private answer, and where the package was found.
TRIED = """
import torch
import autorep_fx as ar
import autorep_fx.kernels as kernels
x = torch.rand(32, 1, 4, 4)
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
program = ar.compile(ar.transform(net, example_inputs=x), x)
error = (program.run(x).output - net(x)).abs().max()
print(kernels.__file__, kernels.available(), bool(error < 0.05))
"""


@pytest.fixture(scope="module")
def built() -> Path:
    """Where `make wheel` left a wheel and the source archive."""
    subprocess.run(["make", "wheel"], cwd=ROOT, check=True)
    return ROOT / "dist"


def run(*command, **options) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_wheel_runs_without_compiler_and_without_the_source_tree(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    assert "manylinux" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    kinds = (".py", ".typed", ".html", ".js", ".json")
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / "autorep_fx").rglob("*") if p.suffix in kinds}
    packed = {n for n in names if n.startswith("autorep_fx/") and not n.endswith("/")}
    assert ours <= packed and [Path(n).suffix for n in packed - ours] == [".so"]
    assert any(n.startswith("autorep_fx.libs/libgomp") for n in names)
    assert any(n.endswith("licenses/LICENSE") for n in names)

    python, options = own_environment(tmp_path, wheel, compiler=False)
    folder = python.parents[1] / "lib"
    assert Path(run(python, "-c", TRIED, **options).split()[0]).is_relative_to(folder)
    assert "megabytes sent, native" in run(python.parent / "autorep-fx", "demo", "--images", 8, **options)


@pytest.mark.slow
def test_the_source_archive_is_built_and_runs_in_an_environment_of_its_own(built, tmp_path):
    (archive,) = built.glob("*.tar.gz")
    python, options = own_environment(tmp_path, archive, compiler=True)
    where, *works = run(python, "-c", TRIED, **options).split()
    assert Path(where).is_relative_to(python.parents[1] / "lib") and works == ["True", "True"]


def own_environment(folder: Path, archive: Path, compiler: bool) -> tuple[Path, dict]:
    """A new virtual environment that has the archive, and how to run its Python, outside of the source tree.

    The dependencies are those of the tests' environment, which the new one finds behind its own: pip installs them
    into it where somebody else does this. The package itself is there as a link alone, which is not followed.
    """
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    found = {name: sysconfig.get_path(name) for name in ("purelib", "scripts")}
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(own, "dependencies.pth").write_text(f"{found['purelib']}\n")
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PATH")}
    tools = f"{found['scripts']}:{os.environ['PATH']}" if compiler else str(folder)
    pip = (sys.executable, "-m", "pip", "-qq", "--python", python, "install", "--no-deps", "--ignore-installed")
    run(*pip, "--no-build-isolation", archive, cwd=folder, env={**clean, "PATH": tools})
    return python, {"cwd": folder, "env": {**clean, "PATH": str(folder)}}
