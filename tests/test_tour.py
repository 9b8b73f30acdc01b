"""examples/tour.ipynb: its cells run, in a folder of their own, and print what it shows but for the last digits.

`python tests/test_tour.py` runs it and writes what comes out into it.
"""

import base64
import json
import os
import re
import struct
import tempfile
from pathlib import Path

import nbclient
import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "tour.ipynb"

#: Of the file, and of the outputs of one cell, in bytes.
WHOLE, CELL = 160_000, 90_000


def run(folder: Path) -> nbformat.NotebookNode:
    """The notebook as it is behind a run. Raises CellExecutionError where a cell does."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder), "OMP_NUM_THREADS": "1"}
    kernel = AsyncKernelManager(transport="ipc", connection_file=str(folder / "kernel.json"))  # no port is opened
    client = nbclient.NotebookClient(notebook, kernel, timeout=600, record_timing=False)
    client.execute(env=environment, cwd=str(folder))
    return notebook


def printed(cell) -> str:
    return "".join(output["text"] for output in cell.get("outputs", ()) if output["output_type"] == "stream")


def pictures(cell) -> list[bytes]:
    found = (output.get("data", {}).get("image/png") for output in cell.get("outputs", ()))
    return [base64.b64decode(data) for data in found if data]


def shape(text: str) -> list[str]:
    """Without the numbers, and which sites are dearest, which differ from machine to machine."""
    return re.sub(r"[\w.#]*relu#?", "a site", re.sub(r"\d[\d,]*(\.\d+)?", "#", text)).split()


@pytest.fixture(scope="module")
def kept() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> nbformat.NotebookNode:
    folder = tmp_path_factory.mktemp("tour")
    notebook = run(folder)
    assert (folder / "report.html").stat().st_size > 10_000
    return notebook


def test_the_notebook_is_whole_small_and_of_no_machine(kept):
    nbformat.validate(kept)
    text = NOTEBOOK.read_text()
    assert len(text) < WHOLE and not re.search(r'[\s"\'(](/|[A-Z]:\\)\w+/', re.sub(r'"image/png": "[^"]*"', "", text))
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(len(json.dumps(cell.outputs)) < CELL for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output["output_type"] != "error" and output.get("name") != "stderr" for output in outputs)


def test_it_shows_what_its_cells_give(kept, done):
    for mine, theirs in zip(done.cells, kept.cells, strict=True):
        assert shape(printed(mine)) == shape(printed(theirs)), f"python {Path(__file__).name} writes {mine.id} anew"
        assert len(pictures(mine)) == len(pictures(theirs))
        for png in (*pictures(mine), *pictures(theirs)):
            width, height = struct.unpack(">2I", png[16:24])
            assert 200 < width < 1000 and 100 < height < 1000
    assert sum(len(pictures(cell)) for cell in done.cells) == 3


def test_the_answers_are_those_in_the_clear(done):
    text = "".join(map(printed, done.cells))
    accuracies = [float(found) for found in re.findall(r"accuracy (\d+\.\d)%", text)]
    assert accuracies[0] > 88 and accuracies[1] > 50
    same, images = map(int, re.search(r"(\d+) of (\d+) as in the clear", text).groups())
    assert images == 20 and same >= 19 and "as planned: True" in text


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        notebook = run(Path(temporary))
    for cell in notebook.cells:
        cell.metadata.clear()
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)
