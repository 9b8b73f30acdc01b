"""The main job on real images: train, transform within two budgets, fine-tune, and answer privately."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, fx

from .errors import FormatError, MissingDependency
from .hybrid.activation import relu_count, sites
from .hybrid.serialize import load, save
from .inspect import inspect, plan_budgets
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


def run(
    folder: Path,
    relu_budget: int = 512,
    latency_ms: float = 250.0,
    images: int = 360,
    progress: bool | None = None,
) -> tuple[Rows, Path]:
    """Train or load a ResNet-14 on scikit-learn's digits, make it hybrid in two ways, and run all three privately.

    One hybrid has a count of ReLUs and squares at the rest: it needs less offline. The other has a limit in
    milliseconds over a WAN, and lines wherever that saves messages: it is faster. CrypTen runs them as well, where it
    is installed.

    Args:
        folder: where the trained network is kept for the next call, and the report is written.
        relu_budget: ReLUs per image that the first hybrid keeps, of 8,192.
        latency_ms: milliseconds that the second may take over a WAN.
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
    few = transform(original, calibration=calibration, relu_budget=relu_budget, network="wan", progress=progress)
    log.info("transformed: %d of %d ReLUs kept", relu_count(few), relu_count(original))
    quick = transform(original, calibration=calibration, latency_ms=latency_ms, network="wan", progress=progress)
    for hybrid, name in ((few, "digits_hybrid"), (quick, "digits_lines")):
        finetune(hybrid, _batches(train), _batches(test), teacher=original, epochs=6, progress=progress)
        save(hybrid, folder / f"{name}.safetensors")

    x = test.normalized()
    models = {"original": original, f"{relu_budget:,} ReLUs": few, f"{latency_ms:g} ms": quick}
    programs = {name: compile(model, calibration[0], network="wan", progress=progress)
                for name, model in models.items()}  # fmt: skip
    log.info("answering %d images privately with each of the three networks, and one over a WAN", len(x))
    private = {name: program.run(x) for name, program in programs.items()}
    over_wan = {name: _over_wan(program, x[:1]) for name, program in programs.items()}
    crypten = _through_crypten(programs, x)

    rows = _table(models, programs, private, over_wan, crypten, test)
    squares = inspect(few, x)
    squares.plot(folder / "overview.png", title=f"ResNet-14 on digits: {squares.before:,} ReLUs → {squares.after:,}")
    plan = plan_budgets(original, calibration, progress=progress)
    for name, model in models.items():
        plan.reach(name, model, accuracy(model, ImageLoader(test, 512)))
    report = inspect(quick, x, program=programs[f"{latency_ms:g} ms"], network="wan")
    title = f"ResNet-14 on digits, {latency_ms:g} ms over a WAN"
    page = report.to_html(folder / "report.html", title=title, sections=[("Results", rows)], plan=plan)
    return rows, page


def _over_wan(program: SecureProgram, x: Tensor) -> float:
    """Milliseconds online that answering ``x`` takes over a link that is slowed down to a WAN, the median of three."""
    with program.session(network="wan", batch=len(x)) as session:
        return 1e3 * median(session.run(x).stats.online.seconds for _ in range(3))


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
    models: dict[str, fx.GraphModule],
    programs: dict[str, SecureProgram],
    private: dict[str, Result],
    over_wan: dict[str, float],
    crypten: dict[str, Result],
    test: Images,
) -> Rows:
    loader = ImageLoader(test, 512)
    answers = {name: result.output.argmax(1) for name, result in private.items()}
    wan = {name: program.cost("wan") for name, program in programs.items()}
    with torch.no_grad():
        logits = {name: model.eval()(test.normalized()) for name, model in models.items()}

    def row(title: str, cell: Callable[[str], str]) -> tuple[str, ...]:
        return (title, *(cell(name) for name in models))

    def costs(title: str, results: dict[str, Result]) -> Rows:
        online = {name: result.stats.online for name, result in results.items()}
        return [
            row(f"seconds online, {title}", lambda n: f"{online[n].seconds:.2f}"),
            row(f"rounds, {title}", lambda n: f"{online[n].rounds:,}"),
            row(f"megabytes sent, {title}", lambda n: f"{sum(online[n].bytes_sent.values()) / 1e6:,.1f}"),
        ]

    return [
        (f"{len(test)} test images", *models),
        row("an image over a WAN, ms predicted", lambda n: f"{1e3 * wan[n].online_seconds:,.0f}"),
        row("an image over a WAN, ms measured", lambda n: f"{over_wan[n]:,.0f}"),
        row("an image, MB offline", lambda n: f"{sum(wan[n].offline.values()) / 1e6:,.2f}"),
        row("accuracy, plaintext", lambda n: f"{accuracy(models[n], loader):.2%}"),
        row("accuracy, private", lambda n: f"{(answers[n] == test.labels).double().mean():.2%}"),
        row("ReLUs per image", lambda n: f"{relu_count(models[n]):,}"),
        row("replaced by", lambda n: _replaced(models[n])),
        row(
            "same class, private and plaintext", lambda n: f"{(answers[n] == logits[n].argmax(1)).double().mean():.2%}"
        ),
        row("largest error of a logit", lambda n: f"{(private[n].output - logits[n]).abs().max():.4f}"),
        row("seconds offline", lambda n: f"{private[n].stats.offline.seconds:.2f}"),
        *costs("native", private),
        *(costs("CrypTen", crypten) if crypten else []),
    ]


def _replaced(model: fx.GraphModule) -> str:
    """What the positions take that keep no ReLU."""
    there = sites(model).values()
    lines, replaced = sum(site.lines for site in there), sum(site.total - site.kept for site in there)
    forms = [form for form, some in (("squares", replaced > lines), ("lines", lines > 0)) if some]
    return ", ".join(forms) or "nothing"


def text(rows: Sequence[tuple[str, ...]]) -> str:
    """The table as plain text."""
    return table(rows, right=range(1, len(rows[0])), rule=True)
