"""The programs of examples/, each run as a person would, and what they print."""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(name): standard output of an example that is started in another folder."""

    def printed(name: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    return printed


def percentages(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"(\d+\.\d+)%", text)]


def numbers(line: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", line)]


def test_own_network(run, tmp_path):
    printed = run("own_network.py")
    assert "2,048 ReLUs -> 200" in printed
    accuracies = percentages(printed.splitlines()[-1])
    assert len(accuracies) == 3 and min(accuracies) > 75
    assert (tmp_path / "hybrid.safetensors").stat().st_size > 1000


def test_search(run):
    original, at_once, learnt, kept = run("search.py").splitlines()
    assert [numbers(line)[0] for line in (original, at_once, learnt)] == [4608, 50, 50]
    assert min(percentages("\n".join((original, at_once, learnt)))) > 80
    assert sum(int(part.split()[-1]) for part in kept.split(",")) == 50


def test_private_run(run):
    printed = run("private_run.py")
    answers, truth, error, here = printed.splitlines()[-4:]
    pairs = list(zip(numbers(answers), numbers(truth), strict=True))
    assert len(pairs) == 10 and sum(a == b for a, b in pairs) >= 7
    assert numbers(error)[0] < 0.1
    rounds = int(re.search(r"(\d+) rounds", printed).group(1))  # as predicted, and then as counted
    assert numbers(here)[1] == rounds


def test_compare_budgets(run):
    rows = [numbers(line) for line in run("compare_budgets.py").splitlines()[1:]]
    budgets, accuracies, _, _, offline, *_ = zip(*rows)
    assert budgets == (4608, 1000, 200, 50, 0)
    assert min(accuracies) > 80
    assert list(offline) == sorted(set(offline), reverse=True)


def shares(lines: list[str]) -> list[float]:
    return [percentages(line)[0] for line in lines]


def test_segmentation(run):
    original, hybrid, private = run("segmentation.py").splitlines()
    assert numbers(hybrid)[0] == 200 and min(shares([original, hybrid])) > 65
    here, plaintext = percentages(private)
    assert abs(here - plaintext) < 8


def test_regression(run):
    original, hybrid, private = run("regression.py").splitlines()
    assert numbers(hybrid)[0] == 12
    assert float(original.split()[-3]) < 0.3 and float(hybrid.split()[-1]) < 0.3
    pairs = [tuple(map(float, pair)) for pair in re.findall(r"(-?\d\.\d+) of (-?\d\.\d+)", private)]
    assert len(pairs) == 5 and sum(abs(found - true) < 0.5 for found, true in pairs) >= 4


def test_multi_label(run):
    original, hybrid, *private = run("multi_label.py").splitlines()
    assert numbers(hybrid)[0] == 150 and min(shares([original, hybrid])) > 60
    assert len(private) == 5 and all("there are [" in line for line in private)


def test_detector(run):
    original, hybrid, *private = run("detector.py").splitlines()
    assert numbers(hybrid)[0] == 300 and min(shares([original, hybrid])) > 55
    places = [[list(map(float, part.split(", "))) for part in re.findall(r"\[(.*?)\]", line)] for line in private]
    assert len(places) == 4 and sum(abs(a - b) < 1.5 for found in places for a, b in zip(*found)) >= 6


def test_siamese(run):
    original, hybrid, private, there = run("siamese.py").splitlines()
    assert numbers(hybrid)[0] == 200 and min(shares([original, hybrid])) > 75
    found, true = (line.partition(":")[2].split(", ") for line in (private, there))
    assert len(found) == 6 and sum(a.strip() == b.strip() for a, b in zip(found, true)) >= 4


def test_parts_and_orders(run):
    original, hybrid, private, true = run("parts_and_orders.py").splitlines()
    assert numbers(hybrid)[0] == 100 and min(shares([original, hybrid])) > 80
    assert sum(a == b for a, b in zip(numbers(private), numbers(true), strict=True)) >= 9
