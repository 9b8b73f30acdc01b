"""What :func:`autorep_fx.monitor` says of changed data, and what :func:`autorep_fx.refit` wins back.

    python benchmarks/drift.py --data digits
    python benchmarks/drift.py --data fashion --network out/fashion_resnet20/autorep-3768-0/hybrid.safetensors

Test images are made brighter or darker, of more or less contrast, or noisy. Each network is a one-shot one, fitted and
not trained since, or one that was trained (``--network``); the fit is to 512 changed training images, without labels.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import autorep_fx as ar
from autorep_fx.errors import CalibrationError
from autorep_fx.models import digits, fashion_mnist, resnet_cifar
from autorep_fx.search.evaluation import accuracy

FASHION = Path("/usr/share/datasets/fashion-mnist")
#: Of pixels from 0 to 1.
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as it was": lambda p: p,
    "brighter by 0.2": lambda p: p + 0.2,
    "darker by 0.2": lambda p: p - 0.2,
    "contrast 1.5": lambda p: p.mean() + 1.5 * (p - p.mean()),
    "contrast 0.5": lambda p: p.mean() + 0.5 * (p - p.mean()),
    "noise of 0.1": lambda p: p + 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)),
    "noise of 0.2": lambda p: p + 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "fashion"), default="digits")
    parser.add_argument("--relu-budget", type=int, default=512)
    parser.add_argument("--original", type=Path, help="pretrained network; out/demo's for the digits")
    parser.add_argument("--network", type=Path, help="a hybrid network that was trained")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.data == "digits":
        (train, test), model = digits(), resnet_cifar(14, in_channels=1)
        original = args.original or Path("out/demo/digits_resnet14.safetensors")
    else:
        (train, test), model = fashion_mnist(FASHION), resnet_cifar(20, in_channels=1)
        original = args.original or Path("recipes/networks/fashion_resnet20.safetensors")
        test = test[:2000]
    full = ar.load(model, original).eval()
    calibration = (train.normalized(slice(512)), train.labels[:512])
    if args.network is None:
        hybrid = ar.transform(full, calibration=calibration, relu_budget=args.relu_budget)
    else:
        hybrid = ar.load(copy.deepcopy(model), args.network).eval()

    def changed(images, change):
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (images.mean, images.std))
        return (change(images.pixels.float() / 255) - mean) / std

    rows = []
    for name, change in CHANGES.items():
        x, fresh = changed(test, change), changed(train[:512], change)
        try:
            drift = ar.monitor(hybrid, x[:256], reference=calibration[0])
        except CalibrationError as error:  # squares behind squares: there is nothing to compare
            print(f"{name}: {error}", flush=True)
            continue
        again = copy.deepcopy(hybrid)
        ar.refit(again, fresh, drift.drifted)
        every = copy.deepcopy(hybrid)
        ar.refit(every, fresh)
        row = {"change": name, "drifted": len(drift.drifted), "sites": len(drift.sites),
               "moved": max(site.distance for site in drift.sites),
               **{key: accuracy(network, zip(x.split(250), test.labels.split(250))) for key, network in
                  (("original", full), ("hybrid", hybrid), ("refitted", again), ("all refitted", every))}}  # fmt: skip
        rows.append(row)
        print(row, flush=True)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def table(rows: list[dict]) -> str:
    head = ("", "sites that have drifted", "moved, deviations", "all ReLUs", "hybrid", "those fitted again",
            "all fitted again")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [f"| {r['change']} | {r['drifted']} of {r['sites']} | {r['moved']:.2f} | {r['original']:.1%} | "
              f"{r['hybrid']:.1%} | {r['refitted']:.1%} | {r['all refitted']:.1%} |" for r in rows]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
