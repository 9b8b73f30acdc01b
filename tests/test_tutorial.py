"""docs/tutorial.md: its code is run in order, and prints what the page shows but for the last digits.

`python tests/test_tutorial.py` writes what it prints today into the page.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"

#: A block of code, and what the page shows below it of its output.
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.M | re.S)

END = "\x1e"


def run(folder: Path) -> list[str]:
    """What each block prints, run as one program, without a main guard."""
    code = "".join(f"{block['code']}\nprint({END!r})\n" for block in BLOCK.finditer(PAGE.read_text()))
    (folder / "tutorial.py").write_text(code)
    # Where other programs run, threads of such small layers wait for one another far longer than they compute.
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "tutorial.py"], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{END}\n")[:-1]


def shown() -> list[str]:
    return [block["output"] or "" for block in BLOCK.finditer(PAGE.read_text())]


def write(printed: list[str]) -> None:
    """Put what was printed into the page."""
    outputs = iter(printed)

    def filled(block: re.Match) -> str:
        output = next(outputs).strip("\n")
        return f"```python\n{block['code']}```\n" + (f"\n```text\n{output}\n```\n" if output else "")

    PAGE.write_text(BLOCK.sub(filled, PAGE.read_text()))


def shape(text: str) -> list[str]:
    """Lines without the numbers and the widths of columns, which differ from machine to machine."""
    lines = [re.sub(r"\d[\d,]*(\.\d+)?(e-?\d+)?", "#", line) for line in text.strip().splitlines()]
    return [re.sub(r"[-+±]+", "-", re.sub(r"\s+", " ", line)).strip() for line in lines]


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("tutorial")
    found = run(folder)
    assert (folder / "report.html").stat().st_size > 10_000 and (folder / "quick.safetensors").is_file()
    return found


def test_the_page_shows_what_its_code_prints(printed):
    assert len(printed) == len(shown()) >= 8
    for one, other in zip(printed, shown(), strict=True):
        assert shape(one) == shape(other), f"python {Path(__file__).name} writes the page anew"


def test_the_numbers_are_those_of_the_page(printed):
    here, page = "\n".join(printed), "\n".join(shown())
    accuracies = [[float(a) for a in re.findall(r"accuracy (\d+\.\d)%", text)] for text in (here, page)]
    # 360 images and sums in another order: a few of them; more for a network that lost much and was not trained yet.
    assert all(abs(a - b) < limit for a, b, limit in zip(*accuracies, (3, 6, 15, 4), strict=True)), accuracies
    assert "4,608 ReLUs -> 400" in here and "as predicted: True" in here
    same, images = map(int, re.search(r"(\d+) of (\d+) have the class", here).groups())
    assert same >= 0.95 * images


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        write(run(Path(temporary)))
