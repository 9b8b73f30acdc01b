"""How far ReLUs go down without labels: agreement with the original on inputs that were not used, over ReLUs kept.

    python benchmarks/label_free.py [--out out/label_free]

Two networks: EfficientNet-Lite0 with its published weights (extra ``imagenet``) on crops of photographs, of which some
are for calibration and the others for the test, and the other way round; and a ResNet-14 on scikit-learn's digits. What
was computed is kept beside the picture, and a second call goes on from there.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, fx, nn

import autorep_fx as ar
from autorep_fx.graph.batches import Batches
from autorep_fx.hybrid import scores as one_shot
from autorep_fx.hybrid.fitting import Fitting, fit_replaced
from autorep_fx.hybrid.positions import choose
from autorep_fx.hybrid.reconstruct import RIDGES, reconstruct_layers

#: name -> (granularity, how strongly weights may be drawn to what they were; None: polynomials alone)
WAYS = {
    "layers": ("layer", None),
    "positions": ("element", None),
    "positions, biases": ("element", (float("inf"),)),
    "positions, reconstructed": ("element", RIDGES),
    "layers, reconstructed": ("layer", RIDGES),
}
SHARES = {"photographs": (0.9, 0.8, 0.7, 0.6, 0.5), "digits": (0.5, 0.2, 0.1, 0.05, 0.02)}

TITLES = {"photographs": "EfficientNet-Lite0, other photographs", "digits": "ResNet-14, other digits"}

#: Photographs of one half are tested with a network that was calibrated on the other half.
HALVES = (("cat", "coffee", "rocket"), ("astronaut", "flower", "temple"))
CROPS, TESTED = 40, 40


def photographs() -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
    from autorep_fx.models import imagenet

    pictures, model = imagenet.photographs(), imagenet.efficientnet_lite0()

    def crops(names: tuple[str, ...], count: int, seed: int) -> Tensor:
        return torch.cat([torch.stack([*imagenet.crops(pictures[name], count, seed)]) for name in names])

    for half, other in (HALVES, HALVES[::-1]):
        yield model, varied(crops(half, CROPS, seed=1)), crops(other, TESTED, seed=2)


def varied(x: Tensor) -> Tensor:
    """Pictures in [-1, 1] of another brightness, contrast, saturation and tint, a third of them blends of two."""
    n, generator = len(x), torch.Generator().manual_seed(0)

    def between(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(n, channels, 1, 1, generator=generator)

    x = (x + 1) / 2 * between(0.6, 1.4)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * between(0.5, 1.4)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * between(0, 1.5) + between(-0.1, 0.1, 3)
    share = torch.where(between(0, 1) < 0.3, between(0, 1), torch.ones(n, 1, 1, 1))
    return (x * share + x[torch.randperm(n, generator=generator)] * (1 - share)).clamp(0, 1) * 2 - 1


def digits() -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
    from autorep_fx.demo import trained
    from autorep_fx.models import digits as images

    folder = Path("out/demo")
    folder.mkdir(parents=True, exist_ok=True)
    train, test = images()
    original = trained(folder / "digits_resnet14.safetensors", train, test, None)
    yield original, train.normalized(slice(512)), test.normalized()


@torch.no_grad()
def log_probabilities(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([model(each) for each in x.split(20)]).double().log_softmax(1)


def agreement(gm: nn.Module, wanted: Tensor, x: Tensor) -> tuple[float, float]:
    """Part of the inputs with the original's class, and the median divergence of the probabilities (KL, in nats)."""
    found = log_probabilities(gm, x)
    apart = (wanted.exp() * (wanted - found)).sum(1)
    return float((found.argmax(1) == wanted.argmax(1)).double().mean()), float(apart.median())


def reduced(full: fx.GraphModule, scores, batches: Batches, share: float, way: str) -> fx.GraphModule:
    granularity, ridges = WAYS[way]
    gm = copy.deepcopy(full)
    for name, keep in choose(scores, int(share * ar.relu_count(full)), granularity).items():
        gm.get_submodule(name).set_keep(keep)
    if ridges is None:
        fit_replaced(gm, batches, Fitting())
    else:
        reconstruct_layers(gm, batches, Fitting(), ridges=ridges)
    return gm


def study(network: str, path: Path) -> None:
    known = json.loads(path.read_text()) if path.is_file() else {}
    for i, (model, calibration, x) in enumerate({"photographs": photographs, "digits": digits}[network]()):
        keys = {(share, way): f"{network} {i} {share} {way}" for share in SHARES[network] for way in WAYS}
        if all(key in known for key in keys.values()):
            continue
        full, batches = ar.transform(model, calibration=calibration), Batches(calibration.split(20))
        wanted = log_probabilities(model, x)
        scores = one_shot.scores(full, batches)
        for site in ar.sites(full).values():
            site.statistics = None  # copied with the model otherwise
        for (share, way), key in keys.items():
            if key not in known:
                known[key] = agreement(reduced(full, scores, batches, share, way), wanted, x)
                print(key, *(f"{value:.3f}" for value in known[key]), flush=True)
                path.write_text(json.dumps(known, indent=1))


def mean(known: dict, network: str, share: float, way: str, which: int) -> float:
    values = [v[which] for k, v in known.items() if k.startswith(network) and k.split(" ", 2)[2] == f"{share} {way}"]
    return sum(values) / len(values)


def table(known: dict, network: str) -> str:
    rows = [f"| {network}, ReLUs kept | {' | '.join(WAYS)} |", "|---:" * (len(WAYS) + 1) + "|"]
    for share in SHARES[network]:
        cells = (f"{mean(known, network, share, w, 0):.1%} ({mean(known, network, share, w, 1):.2g})" for w in WAYS)
        rows.append(f"| {share:.0%} | {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(known: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(SHARES), figsize=(11, 4), layout="constrained")
    for ax, (network, shares) in zip(axes, SHARES.items()):
        for way in WAYS:
            values = [100 * mean(known, network, share, way, 0) for share in shares]
            style = "-o" if "reconstructed" in way else "--o"
            ax.plot([100 * share for share in shares], values, style, label=way, markersize=4)
        ax.set_title(TITLES[network])
        ax.set_xscale("log")
        ax.set_xticks([100 * share for share in shares], [f"{share:.0%}" for share in shares])
        ax.minorticks_off()
        ax.set_xlabel("activations kept")
        ax.set_ylabel("same class as the original, %")
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/label_free"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = options.out / "rows.json"
    for network in ("digits", "photographs"):
        study(network, rows)
    known = json.loads(rows.read_text())
    for network in SHARES:
        print(table(known, network), end="\n\n")
    draw(known, options.out / "label_free.png")


if __name__ == "__main__":
    main()
