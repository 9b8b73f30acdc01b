"""Networks that normalise by the sample and attend, of 224x224: compiled and run between two parties with a dealer.

    python benchmarks/attention.py                                    # all, about a minute each; needs timm
    python benchmarks/attention.py vit_tiny_patch16_224 resnet50_gn
    python benchmarks/attention.py vit_tiny_patch16_224 --precision 0.008
    python benchmarks/attention.py vit_tiny_patch16_224 --steps       # what each kind of step sends; nothing is run

Random weights, all activations kept, one image of noise, one thread a party. Errors are the largest of an output, as a
part of the deviation of all outputs of an image. Online is the second of two inferences of a session.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import torch

import autorep_fx as ar
from autorep_fx.secure.plan.plan import Step

NAMES = (
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "convnext_tiny",
    "resnet50_gn",
    "mobilevit_s",
)
HEAD = ("", "s to compile", "rounds", "MB online", "MB offline", "s online", "times plain fp32",
        "MB of memory, a party", "largest error")  # fmt: skip
STEPS = ("", "steps", "elements", "bits of its wire", "rounds", "MB online", "MB offline")
_PATIENCE = 900.0


def compiled(name: str, precision: float | None) -> tuple[torch.nn.Module, torch.Tensor, ar.SecureProgram, float]:
    """A network, its examples, its program, and how many seconds that took."""
    import timm

    torch.manual_seed(0)
    model, x = timm.create_model(name, pretrained=False).eval(), torch.randn(2, 3, 224, 224)
    gm = ar.transform(model, example_inputs=x[:1])
    start = time.perf_counter()
    program = ar.compile(gm, x, precision=precision)
    return model, x, program, time.perf_counter() - start


def kind_of(step: Step) -> str:
    if not step.sent:
        return "maps and sums"
    if step.op == "activation" and not len(step.attrs["kept"]):
        return "squares" if step.attrs["powers"] == 2 else "truncations"
    return step.attrs.get("kind", step.op)


def by_kind(program: ar.SecureProgram) -> list[tuple[str, ...]]:
    """What the steps of each kind send in an inference, those that send most first; what is left is maps, whose masks
    are made offline, and public sums, which nobody sends."""
    plan, cost = program.plan(network="loopback"), program.cost("loopback")
    found: dict[str, list[Step]] = {}
    for step in plan.steps:
        found.setdefault(kind_of(step), []).append(step)
    rows = []
    for kind, steps in found.items():
        costs = [cost.steps[step.name] for step in steps]
        online, offline = (
            sum(sum(getattr(each, phase).values()) for each in costs) / 1e6 for phase in ("online", "offline")
        )
        bits = sorted({str(step.attrs.get("wire", step.width)) for step in steps if step.sent})
        sent = sum(step.wire_size for step in steps if step.sent)
        rounds = sum(each.rounds for each in costs)
        rows.append((kind, f"{len(steps)}", f"{sent:,}", " and ".join(bits), f"{rounds}", online, offline))
    rows.sort(key=lambda row: -row[-2])
    return [(*row[:-2], *(f"{size:,.1f}" for size in row[-2:])) for row in rows]


def measured(name: str, precision: float | None) -> tuple[str, ...]:
    model, x, program, took = compiled(name, precision)
    with program.session(timeout=_PATIENCE) as session:
        results = [session.run(x[:1]) for _ in range(2)]
    with torch.no_grad():
        plain = [_timed(model, x[:1]) for _ in range(3)]
    expected, stats = plain[0][1], results[-1].stats
    error = max(float((r.output - expected).abs().max() / expected.std()) for r in results)
    sent = {phase: sum(getattr(stats, phase).bytes_sent.values()) / 1e6 for phase in ("online", "offline")}
    seconds = min(s for s, _ in plain)
    called = name if precision is None else f"{name}, precision={precision:g}"
    return (called, f"{took:.0f}", f"{stats.online.rounds}", f"{sent['online']:,.0f}", f"{sent['offline']:,.0f}",
            f"{stats.online.seconds:.2f}", f"{stats.online.seconds / seconds:.1f}",
            f"{max(stats.memory.values()) / 1e6:,.0f}", f"{error:.1%}")  # fmt: skip


def _timed(model: torch.nn.Module, x: torch.Tensor) -> tuple[float, torch.Tensor]:
    start = time.perf_counter()
    y = model(x)
    return time.perf_counter() - start, y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help="of timm")
    parser.add_argument("--steps", action="store_true", help="print what each kind of step sends, and run nothing")
    parser.add_argument("--precision", type=float, help="standard error that compile is asked for")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.steps:
        for name in args.names:
            print_table((name, *STEPS[1:]), by_kind(compiled(name, args.precision)[2]))
        return
    print_table(HEAD, (measured(name, args.precision) for name in args.names))


def print_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
