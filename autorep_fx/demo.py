"""The main job on real images: train, transform, fine-tune, and answer privately between two processes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, fx

from .errors import FormatError, MissingDependency
from .hybrid.activation import relu_count
from .hybrid.serialize import load, save
from .inspect import inspect
from .models import ImageLoader, Images, digits, resnet_cifar
from .search import finetune
from .search.evaluation import accuracy
from .secure.compile import compile
from .secure.result import Result
from .secure.secure_program import SecureProgram
from .text import table
from .transform import transform

log = logging.getLogger(__name__)

Rows = list[tuple[str, ...]]


def run(folder: Path, relu_budget: int = 512, images: int = 360, progress: bool | None = None) -> tuple[Rows, Path]:
    """Train or load a ResNet-14 on scikit-learn's digits, make it hybrid, and run both privately.

    CrypTen runs them as well, where it is installed.

    Args:
        folder: where the trained network is kept for the next call, and the report is written.
        relu_budget: ReLUs per image that the hybrid keeps, of 8,192.
        images: how many test images the private runs answer, 1 to 360.
        progress: progress bars; None shows them on a terminal only.

    Returns:
        The table of results (first row: headings) and the path of the HTML report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, test = digits()
    test = test[:images]
    original = trained(folder / "digits_resnet14.safetensors", train, test, progress)

    calibration = (train.normalized(slice(512)), train.labels[:512])
    hybrid = transform(original, calibration=calibration, relu_budget=relu_budget, progress=progress)
    log.info("transformed: %d of %d ReLUs kept", relu_count(hybrid), relu_count(original))
    finetune(hybrid, _batches(train), _batches(test), teacher=original, epochs=6, progress=progress)
    save(hybrid, folder / "digits_hybrid.safetensors")

    x = test.normalized()
    models = {"original": original, "hybrid": hybrid}
    programs = {name: compile(model, train.normalized(slice(512))) for name, model in models.items()}
    log.info("answering %d images privately with each of the two networks", len(x))
    private = {name: program.run(x) for name, program in programs.items()}
    crypten = _through_crypten(programs, x)

    rows = _table(original, hybrid, private, crypten, test)
    report = inspect(hybrid, x, program=programs["hybrid"], network="wan")
    report.plot(folder / "overview.png", title=f"ResNet-14 on digits: {report.before:,} ReLUs → {report.after:,}")
    page = report.to_html(folder / "report.html", title="ResNet-14 on digits", sections=[("Results", rows)])
    return rows, page


def _through_crypten(programs: dict[str, SecureProgram], x: Tensor) -> dict[str, Result]:
    """The same runs on CrypTen; none where it is not installed."""
    log.info("the same through CrypTen")
    try:
        return {name: program.run(x, backend="crypten") for name, program in programs.items()}
    except MissingDependency as error:
        log.warning("CrypTen's rows are left out: %s", " ".join(str(error).split()))
        return {}


def trained(path: Path, train: Images, test: Images, progress: bool | None) -> fx.GraphModule:
    """The ResNet-14 that is kept at ``path``; trained first, where there is none."""
    network = resnet_cifar(14, in_channels=1)
    if path.exists():
        try:
            return load(network, path).eval()
        except FormatError as error:
            log.warning("training again, the cached network cannot be used: %s", error)
    torch.manual_seed(0)
    model = transform(resnet_cifar(14, in_channels=1), example_inputs=train.normalized(slice(2)))
    finetune(model, _batches(train, train=True), _batches(test), epochs=20, lr=3e-3, progress=progress)
    save(model, path)
    return model


def _batches(images: Images, train: bool | None = None) -> ImageLoader:
    shuffled = len(images) > 360 if train is None else train
    return ImageLoader(images, 64, train=shuffled, pad=1 if shuffled else 0)


def _table(
    original: fx.GraphModule,
    hybrid: fx.GraphModule,
    private: dict[str, Result],
    crypten: dict[str, Result],
    test: Images,
) -> Rows:
    loader = ImageLoader(test, 512)
    answers = {name: result.output.argmax(1) for name, result in private.items()}
    plain = {"original": original, "hybrid": hybrid}
    with torch.no_grad():
        logits = {name: model.eval()(test.normalized()) for name, model in plain.items()}

    def row(title: str, cell) -> tuple[str, ...]:
        return (title, *(cell(name) for name in plain))

    def costs(title: str, results: dict[str, Result]) -> Rows:
        online = {name: result.stats.online for name, result in results.items()}
        return [
            row(f"seconds online, {title}", lambda n: f"{online[n].seconds:.2f}"),
            row(f"rounds, {title}", lambda n: f"{online[n].rounds:,}"),
            row(f"megabytes sent, {title}", lambda n: f"{sum(online[n].bytes_sent.values()) / 1e6:,.1f}"),
        ]

    return [
        (f"{len(test)} test images", "original", "hybrid"),
        row("ReLUs per image", lambda n: f"{relu_count(plain[n]):,}"),
        row("accuracy, plaintext", lambda n: f"{accuracy(plain[n], loader):.2%}"),
        row("accuracy, private", lambda n: f"{(answers[n] == test.labels).double().mean():.2%}"),
        row(
            "same class, private and plaintext", lambda n: f"{(answers[n] == logits[n].argmax(1)).double().mean():.2%}"
        ),
        row("largest error of a logit", lambda n: f"{(private[n].output - logits[n]).abs().max():.4f}"),
        row("seconds offline", lambda n: f"{private[n].stats.offline.seconds:.2f}"),
        *costs("native", private),
        *(costs("CrypTen", crypten) if crypten else []),
    ]


def text(rows: Sequence[tuple[str, ...]]) -> str:
    """The table as plain text."""
    return table(rows, right=range(1, len(rows[0])), rule=True)
