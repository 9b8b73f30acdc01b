"""The command line, and the main job through it."""

import logging
import sys

import pytest

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.models import digits, resnet_cifar


def test_demo_end_to_end(tmp_path, capsys, forked):
    arguments = ["--images", "16", "--relu-budget", "300", "--latency-ms", "260"]
    assert main(["demo", "--out", str(tmp_path), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line[:34].strip(): line[34:].split() for line in lines if line}
    assert cells["16 test images"] == ["original", "300", "ReLUs", "260", "ms"]
    assert cells["replaced by"] == ["nothing", "squares", "lines"]
    few, quick = (ar.load(resnet_cifar(14, in_channels=1), tmp_path / f"digits_{name}.safetensors")
                  for name in ("hybrid", "lines"))  # fmt: skip
    assert ar.relu_count(few) == 300
    assert cells["ReLUs per image"] == ["8,192", "300", f"{ar.relu_count(quick):,}"]
    assert all(float(v.rstrip("%")) >= 80 for v in cells["accuracy, private"])
    assert all(float(v.rstrip("%")) >= 90 for v in cells["same class, private and plaintext"])
    for what in ("predicted", "measured"):  # squares wait for as many messages, and lines for none
        original, squares, lined = (float(v) for v in cells[f"an image over a WAN, ms {what}"])
        assert lined < 0.7 * original and squares > 0.9 * original
    original, squares, lined = (float(v) for v in cells["an image, MB offline"])
    assert squares < 0.2 * original and lined < original
    for runtime in ("native", "CrypTen"):
        original, squares, lined = map(float, cells[f"megabytes sent, {runtime}"])
        # With comparison keys a square sends as much as a ReLU; what it saves of the native runtime is offline.
        assert squares < 0.8 * original if runtime == "CrypTen" else squares <= original
        assert lined < original or runtime == "native"  # of lines there, few travel, some on wires of 64 bits
    page = (tmp_path / "report.html").read_text()
    assert "stages.2.1.relu2" in page and "Other budgets" in page
    assert page.index("<h2>Results</h2>") < page.index("<h2>What a private inference costs</h2>")


@pytest.mark.slow
def test_demo_without_crypten_leaves_its_rows_out_and_says_so_in_one_line(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "crypten", None)
    network = ar.transform(resnet_cifar(14, in_channels=1), example_inputs=digits()[0].normalized(slice(2)))
    ar.save(network, tmp_path / "digits_resnet14.safetensors")  # untrained, which takes no time
    with caplog.at_level(logging.WARNING, "autorep_fx.demo"):
        assert (
            main(["demo", "--out", str(tmp_path), "--images", "2", "--relu-budget", "8192", "--latency-ms", "1e5"]) == 0
        )
    printed = capsys.readouterr().out
    assert "megabytes sent, native" in printed and "CrypTen" not in printed
    (line,) = (r.getMessage() for r in caplog.records if "CrypTen" in r.getMessage())
    assert "pip install --no-deps crypten" in line and "\n" not in line


def test_mistakes_are_explained_and_return_2(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--images", "0"]) == 2
    assert "--images must be 1 to 360" in capsys.readouterr().err
