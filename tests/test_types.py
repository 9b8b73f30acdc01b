"""What a type checker says of the package, and what the package says to the type checkers of others."""

import os
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


USER = """
import torch
from torch import nn

import autorep_fx as ar

model: nn.Module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
x = torch.randn(8, 1, 8, 8)
labelled = [(x, torch.zeros(8))]
gm = ar.transform(model, calibration=x, relu_budget=40)
ar.finetune(gm, labelled, epochs=1)
ar.search(gm, labelled, labelled, relu_budget=40, teacher=model, epochs=1)
ar.save(gm, "hybrid.safetensors")
gm = ar.load(model, "hybrid.safetensors")
kept: int = ar.relu_count(gm) + sum(site.kept for site in ar.sites(gm).values())
rates: dict[str, float] = ar.clip_rates(gm) | ar.simplify_clips(gm)
ar.inspect(gm, x, network="wan").to_html("report.html", plan=ar.plan_budgets(model, x))
program: ar.SecureProgram = ar.compile(gm, x)
seconds: float = program.cost(ar.Network(rtt_ms=40, mbps=100)).online_seconds
sent: int = program.run(x).stats.online.bytes_sent["client"]
with program.session(batch=4) as session:
    session.run(x)
program.save("program")
drift: ar.Drift = ar.monitor(gm, x, program=ar.SecureProgram.load("program"))
ar.refit(gm, x, drift.drifted)
with ar.connect("public", server="a:1", dealer="b:2", tls=("me.pem", "ca.pem")) as client:
    print(client.run(x), client.headroom(x).fits)
wrong: str = ar.relu_count(gm)
"""


@pytest.mark.slow
def test_a_script_of_a_user_passes_a_strict_checker_and_a_mistake_in_it_does_not(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(USER)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", script]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True
    )
    (error,) = [line for line in done.stdout.splitlines() if "error:" in line]
    assert error.startswith(f"script.py:{len(USER.splitlines())}: error: Incompatible types in assignment"), error


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
