"""The command line, and the main job through it."""

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.models import resnet_cifar


def test_demo_end_to_end(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--images", "16", "--relu-budget", "300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line[:36].strip(): line[36:].split() for line in lines if line}
    assert cells["ReLUs per image"] == ["8,192", "300"]
    assert all(float(v.rstrip("%")) >= 80 for v in cells["accuracy, private"])
    assert all(float(v.rstrip("%")) >= 90 for v in cells["same class, private and plaintext"])
    for runtime in ("native", "CrypTen"):
        original, hybrid = map(float, cells[f"megabytes sent, {runtime}"])
        assert hybrid < 0.8 * original
    assert "stages.2.1.relu2" in (tmp_path / "report.html").read_text()
    hybrid = ar.load(resnet_cifar(14, in_channels=1), tmp_path / "digits_hybrid.safetensors")
    assert ar.relu_count(hybrid) == 300


def test_mistakes_are_explained_and_return_2(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--images", "0"]) == 2
    assert "--images must be 1 to 360" in capsys.readouterr().err
