"""A network of ImageNet on real photographs: top-5 of plaintext and private side by side, and what it took."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from .demo import Rows
from .hybrid.activation import relu_count, sites
from .models import imagenet
from .secure.compile import compile
from .secure.result import Result
from .transform import transform

log = logging.getLogger(__name__)

#: Crops of each photograph that ranges are taken from.
_CROPS = 8


def run(folder: Path) -> tuple[list[Rows], Path]:
    """Answer six photographs with EfficientNet-Lite0, all its ReLU6 kept, between two processes.

    Args:
        folder: where the picture is written.

    Returns:
        Two tables (first row: headings), of answers and of costs, and the path of the picture.

    Raises:
        MissingDependency: the extra ``imagenet`` is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, pictures = imagenet.efficientnet_lite0(), imagenet.photographs()
    x = torch.stack([imagenet.centre(picture) for picture in pictures.values()])
    examples = torch.cat([x, *(torch.stack([*imagenet.crops(p, _CROPS)]) for p in pictures.values())])
    hybrid = transform(model, example_inputs=x[:1])
    log.info("%d sites, %s ReLU6", len(sites(hybrid)), f"{relu_count(hybrid):,}")
    program = compile(hybrid, examples)
    with torch.no_grad():
        plain = model(x).softmax(1)
    log.info("answering %d photographs privately, one after the other", len(x))
    with program.session() as session:
        results = [session.run(one[None]) for one in x]
    private = torch.cat([result.output for result in results]).softmax(1)
    path = folder / "photographs.png"
    draw(path, pictures, plain, private)
    return [_answers(list(pictures), plain, private), _costs(results)], path


def _answers(names: list[str], plain: Tensor, private: Tensor) -> Rows:
    classes = imagenet.classes()

    def top(p: Tensor) -> list[str]:
        return [f"{classes[int(i)]} {float(p[i]):.1%}" for i in p.topk(5).indices]

    rows: Rows = [("photograph", "plaintext", "private")]
    for name, mine, theirs in zip(names, plain, private):
        rows += [(name if i == 0 else "", a, b) for i, (a, b) in enumerate(zip(top(mine), top(theirs)))]
    same = sum(int(a.argmax() == b.argmax()) for a, b in zip(plain, private))
    return [*rows, ("same class", f"{same} of {len(names)}", "")]


def _costs(results: list[Result]) -> Rows:
    def median(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    stats = [result.stats for result in results]
    sent = stats[0].online.bytes_sent
    return [
        ("a photograph", "offline", "online"),
        ("seconds, median", *(f"{median([getattr(s, p).seconds for s in stats]):.2f}" for p in ("offline", "online"))),
        ("rounds", "", f"{stats[0].online.rounds:,}"),
        ("megabytes", *(f"{sum(getattr(stats[0], p).bytes_sent.values()) / 1e6:,.0f}" for p in ("offline", "online"))),
        *((f"  of these {party}", "", f"{size / 1e6:,.0f}") for party, size in sent.items() if size),
        *((f"memory of {party}, MB", f"{size / 1e6:,.0f}", "") for party, size in stats[-1].memory.items()),
    ]


def draw(path: Path, pictures: dict, plain: Tensor, private: Tensor) -> None:
    """Every photograph above the five likeliest classes, in plaintext and private."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    classes = imagenet.classes()
    figure, axes = plt.subplots(2, len(pictures), figsize=(3.2 * len(pictures), 5), height_ratios=(3, 2))
    for (name, picture), above, below, mine, theirs in zip(pictures.items(), *axes, plain, private):
        above.imshow(picture)
        above.set_title(name)
        above.axis("off")
        best = mine.topk(5).indices.flip(0)
        at = torch.arange(len(best))
        below.barh(at + 0.2, mine[best], 0.4, label="plaintext", color="#9ab")
        below.barh(at - 0.2, theirs[best], 0.4, label="private", color="#357")
        below.set_yticks(at, [classes[int(i)] for i in best], fontsize=8)
        below.set_xlim(0, 1)
    axes[1][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
