"""What a type checker says of a user's calls: it knows every option, of keywords and of objects."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CALLS = """\
import autorep_fx as ar
from torch import fx, nn

def run(gm: fx.GraphModule, data: list[int], net: nn.Module) -> ar.SearchSettings:
    ar.search(gm, data, relu_budget=3, lr=1e-3, cost={"relu": 2.0}, network=ar.Network(15, 50), on_epoch=print)
    ar.finetune(gm, data, settings=ar.FinetuneSettings(ease_in=0.1), growth=None)
    ar.search(gm, data, epohcs=2)  # "epohcs" for "search"; did you mean "epochs"
    ar.search(gm, data, epochs="two")  # incompatible type "str"; expected "int"
    ar.search(gm, data, method="sphynx")  # expected "Literal['autorep', 'snl']"
    ar.finetune(gm, data, relu_budget=3)  # "relu_budget" for "finetune"
    ar.transform(net, degree=2.5)  # incompatible type "float"; expected "int"
    ar.SearchSettings(epohcs=3)  # "epohcs" for "SearchSettings"; did you mean "epochs"
    return ar.SearchSettings(relu_budget=3).replace(epochs=3)
"""


@pytest.mark.slow
def test_a_type_checker_knows_every_option(tmp_path):
    (tmp_path / "calls.py").write_text(CALLS)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "calls.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    said = dict(re.findall(r"^calls.py:(\d+): error: (.*)$", done.stdout, re.MULTILINE))
    wanted = {str(i): line.partition("  # ")[2] for i, line in enumerate(CALLS.splitlines(), 1) if "  # " in line}
    assert said.keys() == wanted.keys(), done.stdout
    assert all(wanted[line] in said[line] for line in wanted), done.stdout
