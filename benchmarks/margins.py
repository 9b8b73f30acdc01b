"""How often inner values leave their room although the input is in its range: digits, changed in four ways, by margin.

    make demo && python benchmarks/margins.py

For the networks that the demo leaves in out/demo. A share of the answered samples is *beyond* where headroom says that
a window or the ring is exceeded; *wrong* where the private answer, run all the same, is another class than plaintext's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import autorep_fx as ar
from autorep_fx.models import digits, resnet_cifar
from autorep_fx.secure.plan.input_range import InputRange

NETWORKS = {"all ReLUs": "digits_resnet14.safetensors", "512 ReLUs, squares": "digits_hybrid.safetensors"}
MARGINS = (0, 1, 2, 3)


def changes(low: float, high: float) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ways to change a batch whose pixels lie between ``low`` and ``high``."""
    generator = torch.Generator().manual_seed(0)
    span = high - low

    def shifted(x: Tensor) -> Tensor:
        rows, columns = torch.randint(-2, 3, (2, len(x)), generator=generator).tolist()
        padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=low)
        return torch.stack([p[:, 2 - r : 10 - r, 2 - c : 10 - c] for p, r, c in zip(padded, rows, columns)])

    def noisy(x: Tensor, share: float) -> Tensor:
        return x + share * span * torch.randn(x.shape, generator=generator)

    def brighter(x: Tensor, times: float) -> Tensor:
        return low + (x - low) * times

    def clipped(change: Callable, *arguments: float) -> Callable[[Tensor], Tensor]:
        return lambda x: change(x, *arguments).clamp(low, high)

    return {
        "as they are": lambda x: x,
        "shifted by up to 2 pixels": shifted,
        "noise of 0.1 of the range": lambda x: noisy(x, 0.1),
        "noise of 0.3, clipped": clipped(noisy, 0.3),
        "noise of 1, clipped": clipped(noisy, 1.0),
        "brighter by 1.2": lambda x: brighter(x, 1.2),
        "brighter by 2, clipped": clipped(brighter, 2.0),
        "black for white": lambda x: high + low - x,
        "only black and white": lambda x: torch.where(x > (low + high) / 2, high, low),
    }


def answered(program: ar.SecureProgram, x: Tensor) -> np.ndarray:
    """Which samples the client would send."""
    within = InputRange.of_plan(program.plan())
    sent = np.zeros(len(x), bool)
    for i in range(len(x)):
        try:
            within.check(x[i : i + 1].numpy())
            sent[i] = True
        except ValueError:
            pass
    return sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("out/demo"), help="of the demo's networks")
    parser.add_argument("--json", type=Path, help="write the table here as well")
    args = parser.parse_args()
    train, test = digits()
    examples, x = train.normalized(slice(512)), test.normalized()
    low, high = float(examples.min()), float(examples.max())
    rows = []
    for network, file in NETWORKS.items():
        if not (args.folder / file).exists():
            sys.exit(f"{args.folder / file} is not there: run `make demo` first")
        gm = ar.load(resnet_cifar(14, in_channels=1), args.folder / file).eval()
        programs = {(m, m): ar.compile(gm, examples, margin_bits=m) for m in MARGINS}
        programs[2, 3] = ar.compile(gm, examples, margin_bits=2, window_margin_bits=3)
        for name, change in changes(low, high).items():
            batch = change(x)
            with torch.no_grad():
                wanted = gm(batch).argmax(1)
            row = {"network": network, "change": name}
            for (ring, window), program in programs.items():
                sent = answered(program, batch)
                row["refused"] = 1 - sent.mean()
                beyond = (program.headroom(batch).samples >= 1).numpy()[sent]
                wrong = (program.run(batch, check_range=False).output.argmax(1) != wanted).numpy()[sent]
                key = f"{ring}" if ring == window else f"{ring}, windows {window}"
                row[key] = [beyond.mean() if sent.any() else 0.0, wrong.mean() if sent.any() else 0.0]
            rows.append(row)
            cells = [f"{100 * b:.1f} / {100 * w:.1f}" for b, w in list(row.values())[3:]]
            print(f"| {network} | {name} | {100 * row['refused']:.1f} | {' | '.join(cells)} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
