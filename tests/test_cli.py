"""The command line, and the main job through it."""

import logging
import sys

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.models import digits, resnet_cifar


def test_demo_end_to_end(tmp_path, capsys, forked):
    assert main(["demo", "--out", str(tmp_path), "--images", "16", "--relu-budget", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line[:36].strip(): line[36:].split() for line in lines if line}
    assert cells["ReLUs per image"] == ["8,192", "300"]
    assert all(float(v.rstrip("%")) >= 80 for v in cells["accuracy, private"])
    assert all(float(v.rstrip("%")) >= 90 for v in cells["same class, private and plaintext"])
    for runtime in ("native", "CrypTen"):
        original, hybrid = map(float, cells[f"megabytes sent, {runtime}"])
        # With comparison keys a square sends as much as a ReLU; what it saves of the native runtime is offline.
        assert hybrid < 0.8 * original if runtime == "CrypTen" else hybrid <= original
    assert "stages.2.1.relu2" in (tmp_path / "report.html").read_text()
    hybrid = ar.load(resnet_cifar(14, in_channels=1), tmp_path / "digits_hybrid.safetensors")
    assert ar.relu_count(hybrid) == 300


def test_demo_without_crypten_leaves_its_rows_out_and_says_so_in_one_line(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "crypten", None)
    network = ar.transform(resnet_cifar(14, in_channels=1), example_inputs=digits()[0].normalized(slice(2)))
    ar.save(network, tmp_path / "digits_resnet14.safetensors")  # untrained, which takes no time
    with caplog.at_level(logging.WARNING, "autorep_fx.demo"):
        assert main(["demo", "--out", str(tmp_path), "--images", "2", "--relu-budget", "8192"]) == 0
    printed = capsys.readouterr().out
    assert "megabytes sent, native" in printed and "CrypTen" not in printed
    (line,) = (r.getMessage() for r in caplog.records if "CrypTen" in r.getMessage())
    assert "pip install --no-deps crypten" in line and "\n" not in line


def test_mistakes_are_explained_and_return_2(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--images", "0"]) == 2
    assert "--images must be 1 to 360" in capsys.readouterr().err
