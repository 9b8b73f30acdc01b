"""docs/onnx.md: its lines run, and print what the page shows."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "onnx.md"


def test_the_lines_of_the_page_run_and_print_what_it_shows(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    text = PAGE.read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.S)
    [shown] = re.findall(r"prints\n\n((?:    .*\n)+)", text)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, str(PAGE), "exec"), names)
    assert capsys.readouterr().out.split("\n") == [line[4:] for line in shown.split("\n")]
    with names["torch"].no_grad():
        plain = names["model"](names["images"][:2])
    assert (names["result"].output - plain).abs().max() < 0.05
