"""One encoder block of ViT-Tiny (197 tokens of 192 channels, 3 heads) between two parties, all systems in one run.

    python benchmarks/vit_block.py [--repeats 3] [--sharper 4] [--json FILE]

Plain PyTorch in fp32, CrypTen 0.4.1 with its own operations, and the native runtime: one sample, one thread a party,
processes of this machine, medians over the repetitions behind a first run that warms up. On CrypTen a product is its
``matmul``, softmax its ``softmax``, layer norm its ``mean``, ``square`` and ``inv_sqrt``, and GELU is
``x sigmoid(1.702 x)``, for the Taylor series that is its ``erf`` diverges from 3 on and costs more. Its first party
makes the triples within the measured time; what the native runtime prepares offline is a column of its own. Errors are
largest ones, as a part of the outputs' deviation. Weights are random, whose attention looks at all tokens alike; with
sharper scores, as training makes them, the native runtime takes the largest score of each row off, as CrypTen always
does.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crypten_backend import between_two, connected, sent
from private_inference import machine, plain
from torch import Tensor

import autorep_fx as ar
from autorep_fx.models.vit import Encoder
from autorep_fx.secure.crypten.meter import Meter

TOKENS, WIDTH, HEADS = 197, 192, 3

#: Samples to compile with.
EXAMPLES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each system; the median is reported")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--sharper", type=float, default=1.0, help="a factor of all scores of the attention")
    parser.add_argument("--no-crypten", action="store_true", help="leave it out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, x = Encoder(WIDTH, HEADS).eval(), torch.randn(EXAMPLES, TOKENS, WIDTH)
    with torch.no_grad():
        model.attention.qkv.weight[:WIDTH] *= args.sharper  # the queries
    gm = ar.transform(model, example_inputs=x[:1])
    start = time.perf_counter()
    program = ar.compile(gm, x)
    print(f"{ar.relu_count(gm):,} GELUs; compiled in {time.perf_counter() - start:.0f} s", flush=True)
    with torch.no_grad():
        expected = model(x[:1])
    fp32 = plain(model, x[:1], 1)
    rows = {"native": native(program, x[:1], expected, args.repeats)}
    if not args.no_crypten:
        rows["crypten"] = crypten(model, x[:1], expected, args.repeats)
    fp32 = min(fp32, plain(model, x[:1], 1), key=lambda row: row["seconds"])  # beside other work it would flatter
    rows = {"plain_fp32": fp32, **rows}
    print("| system | online, s | offline, s | rounds | online, MB | offline, MB | memory, MB | error "
          "| times plain fp32 |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in rows.items():
        print(shown(name, row, fp32["seconds"]))
    if "crypten" in rows:
        ours, theirs = rows["native"], rows["crypten"]["seconds"]
        print(f"CrypTen over native: {theirs / ours['seconds']:.1f} online, "
              f"{theirs / (ours['seconds'] + ours['offline_seconds']):.1f} with what is prepared offline")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "repeats": args.repeats, "systems": rows}, indent=1))


def native(program: ar.SecureProgram, x: Tensor, expected: Tensor, repeats: int) -> dict:
    with program.session(timeout=600) as session:
        results = [session.run(x) for _ in range(1 + repeats)][1:]
    stats = results[-1].stats
    return {
        "seconds": statistics.median(r.stats.online.seconds for r in results),
        "offline_seconds": statistics.median(r.stats.offline.seconds for r in results),
        "rounds": stats.online.rounds,
        "bytes": sum(stats.online.bytes_sent.values()),
        "offline_bytes": sum(stats.offline.bytes_sent.values()),
        "memory": max(stats.memory.values()),
        "error": max(off_by(r.output, expected) for r in results),
    }


def crypten(model: Encoder, x: Tensor, expected: Tensor, repeats: int) -> dict:
    """The block on plain CrypTen tensors: weights shared by party 0, the input by party 1."""
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    reports = between_two(_party, weights, x.numpy(), repeats)
    return {
        "seconds": statistics.median(reports[1]["seconds"]),
        "rounds": reports[1]["rounds"],
        "bytes": sum(report["bytes"] for report in reports),
        "memory": max(report["memory"] for report in reports),
        "error": off_by(torch.from_numpy(reports[1]["output"]), expected),
    }


def _party(rank: int, folder: str, weights: dict[str, np.ndarray], x: np.ndarray, repeats: int, pipe: Any) -> None:
    import resource

    crypten = connected(rank, folder)
    meter = Meter(crypten, lambda waits: None)

    def share(value: np.ndarray, owner: int) -> Any:
        return crypten.cryptensor(torch.from_numpy(value if rank == owner else np.empty_like(value)), src=owner)

    secrets = {name: share(value, 0) for name, value in weights.items()}
    gc.freeze()  # as our parties do
    seconds: list[float] = []
    for _ in range(1 + repeats):
        crypten.communicator.get().barrier()
        meter.reset()
        before, start = sent(), time.perf_counter()
        output = block(secrets, share(x, 1)).get_plain_text(dst=1)
        seconds.append(time.perf_counter() - start)
    unit = 1 if sys.platform == "darwin" else 1024
    pipe.send({"seconds": seconds[1:], "rounds": meter.rounds[0], "bytes": sent() - before,
               "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
               "output": None if output is None else output.numpy()})  # fmt: skip
    crypten.communicator.get().barrier()
    crypten.uninit()


def block(weights: dict[str, Any], x: Any) -> Any:
    """An :class:`~autorep_fx.models.vit.Encoder` of CrypTen's tensors."""

    def linear(name: str, x: Any) -> Any:
        return x.matmul(weights[f"{name}.weight"].t()) + weights[f"{name}.bias"]

    def norm(name: str, x: Any) -> Any:
        d = x - x.mean(-1, keepdim=True)
        return (
            d * (d.square().mean(-1, keepdim=True) + 1e-5).inv_sqrt() * weights[f"{name}.weight"]
            + weights[f"{name}.bias"]
        )

    n, tokens, width = x.shape
    size = width // HEADS
    parts = linear("attention.qkv", norm("norm1", x)).reshape(n, tokens, 3, HEADS, size).permute(2, 0, 3, 1, 4)
    q, k, v = (parts[i] for i in range(3))
    seen = (q.matmul(k.transpose(2, 3)) * size**-0.5).softmax(-1).matmul(v)
    x = x + linear("attention.out", seen.transpose(1, 2).reshape(n, tokens, width))
    up = linear("up", norm("norm2", x))
    return x + linear("down", up * (up * 1.702).sigmoid())


def off_by(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.std())


def shown(name: str, row: dict, fp32: float) -> str:
    cells = [
        f"{row['seconds']:.4f}",
        _text(row, "offline_seconds", 1, "{:.3f}"),
        _text(row, "rounds", 1, "{:,.0f}"),
        _text(row, "bytes", 1e6, "{:.1f}"),
        _text(row, "offline_bytes", 1e6, "{:.1f}"),
        _text(row, "memory", 1e6, "{:.0f}"),
        _text(row, "error", 1, "{:.4f}"),
        f"{row['seconds'] / fp32:.1f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _text(row: dict, name: str, unit: float, form: str) -> str:
    return form.format(row[name] / unit) if name in row else ""


if __name__ == "__main__":
    main()
