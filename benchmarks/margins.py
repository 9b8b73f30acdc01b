"""How often inner values leave their room although the input is in its range, by margin.

    python benchmarks/margins.py --random 0 21      # random small networks, and inputs that are made for it
    make demo && python benchmarks/margins.py       # digits, changed in nine ways

Of random networks, tests/helpers/hard_inputs.py makes the inputs: the filters' signs tiled over a picture, and gradient
ascent towards every activation and the output. A share of the answered ones is *beyond* where the run is further from
the fixed-point model, which never wraps, than that allows. What room takes is declared: predicted online milliseconds
over a LAN, with the rates that plans are made with, and offline megabytes, of all networks together.

For the networks that the demo leaves in out/demo. A share of the answered samples is *beyond* where headroom says that
a window or the ring is exceeded; *wrong* where the private answer, run all the same, is another class than plaintext's.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import autorep_fx as ar
from autorep_fx.models import digits, resnet_cifar
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.plan.plan import VARIANTS
from autorep_fx.secure.rates import Rates

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from hard_inputs import beyond, hard_inputs, random_case, sent  # noqa: E402

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


#: name -> options of compile.
SETTINGS = {f"{m}": {"margin_bits": m, "window_margin_bits": m} for m in MARGINS} | {
    "2, extreme": {"ranges": "extreme"},
    "3, extreme": {"ranges": "extreme", "margin_bits": 3, "window_margin_bits": 3},
}


def of_random_networks(first: int, last: int) -> list[dict]:
    """A row for each setting."""
    torch.set_num_threads(1)  # small networks
    rows: list[dict] = []
    for name, options in SETTINGS.items():
        row = {"margin_bits": name, "answered": 0, "beyond": 0, "online_ms": 0.0, "offline_MB": 0.0, "compiled": 0}
        for seed in range(first, last):
            case = random_case(seed)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ar.CompileWarning)
                    program = ar.compile(case.gm, case.examples, **options)
                    program.native  # noqa: B018
            except ar.CompileError:
                continue  # counted: no room
            x = hard_inputs(case.gm, case.filters, InputRange.of_plan(program.base_plan), (3, 8, 8), seed)
            row["compiled"] += 1
            row["answered"] += len(x)
            row["beyond"] += int(beyond(program, x, VARIANTS[seed % len(VARIANTS)]).sum())
            costs = (plan_cost(program.base_plan.with_comparison(c), "lan", rates=Rates()) for c in VARIANTS)
            cost = min(costs, key=lambda cost: cost.online_seconds)
            row["online_ms"] += 1e3 * cost.online_seconds
            row["offline_MB"] += sum(cost.offline.values()) / 1e6
        rows.append(row)
        rate = row["beyond"] / max(row["answered"], 1)
        print(f"| {name} | {row['beyond']} of {row['answered']:,} | {100 * rate:.2f} % | {row['online_ms']:.2f} | "
              f"{row['offline_MB']:.3f} | {row['compiled']} of {last - first} |", flush=True)  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("out/demo"), help="of the demo's networks")
    parser.add_argument("--json", type=Path, help="write the table here as well")
    parser.add_argument("--random", type=int, nargs=2, metavar=("FIRST", "LAST"), help="seeds of random networks")
    args = parser.parse_args()
    rows = of_random_networks(*args.random) if args.random else of_digits(args.folder)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def of_digits(folder: Path) -> list[dict]:
    """A row for each network and change."""
    train, test = digits()
    examples, x = train.normalized(slice(512)), test.normalized()
    low, high = float(examples.min()), float(examples.max())
    rows = []
    for network, file in NETWORKS.items():
        if not (folder / file).exists():
            sys.exit(f"{folder / file} is not there: run `make demo` first")
        gm = ar.load(resnet_cifar(14, in_channels=1), folder / file).eval()
        programs = {(m, m): ar.compile(gm, examples, margin_bits=m, window_margin_bits=m) for m in MARGINS}
        for name, change in changes(low, high).items():
            batch = change(x)
            with torch.no_grad():
                wanted = gm(batch).argmax(1)
            row = {"network": network, "change": name}
            for (ring, window), program in programs.items():
                answered = sent(InputRange.of_plan(program.plan()), batch.numpy())
                row["refused"] = 1 - answered.mean()
                over = (program.headroom(batch).samples >= 1).numpy()[answered]
                wrong = (program.run(batch, check_range=False).output.argmax(1) != wanted).numpy()[answered]
                key = f"{ring}" if ring == window else f"{ring}, windows {window}"
                row[key] = [over.mean() if answered.any() else 0.0, wrong.mean() if answered.any() else 0.0]
            rows.append(row)
            cells = [f"{100 * b:.1f} / {100 * w:.1f}" for b, w in list(row.values())[3:]]
            print(f"| {network} | {name} | {100 * row['refused']:.1f} | {' | '.join(cells)} |", flush=True)
    return rows


if __name__ == "__main__":
    main()
