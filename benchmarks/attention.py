"""Networks that normalise by the sample and attend, of 224x224: compiled and run between two parties with a dealer.

    python benchmarks/attention.py                                    # all, about a minute each; needs timm
    python benchmarks/attention.py vit_tiny_patch16_224 resnet50_gn

Random weights, all activations kept, one image of noise, one thread a party. Errors are the largest of an output, as a
part of the deviation of all outputs of an image. Online is the second of two inferences of a session.
"""

from __future__ import annotations

import argparse
import time

import torch

import autorep_fx as ar

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
_PATIENCE = 900.0


def measured(name: str) -> tuple[str, ...]:
    import timm

    torch.manual_seed(0)
    model, x = timm.create_model(name, pretrained=False).eval(), torch.randn(2, 3, 224, 224)
    gm = ar.transform(model, example_inputs=x[:1])
    start = time.perf_counter()
    program = ar.compile(gm, x)
    compiled = time.perf_counter() - start
    with program.session(timeout=_PATIENCE) as session:
        results = [session.run(x[:1]) for _ in range(2)]
    with torch.no_grad():
        plain = [_timed(model, x[:1]) for _ in range(3)]
    expected, stats = plain[0][1], results[-1].stats
    error = max(float((r.output - expected).abs().max() / expected.std()) for r in results)
    sent = {phase: sum(getattr(stats, phase).bytes_sent.values()) / 1e6 for phase in ("online", "offline")}
    seconds = min(s for s, _ in plain)
    return (name, f"{compiled:.0f}", f"{stats.online.rounds}", f"{sent['online']:,.0f}", f"{sent['offline']:,.0f}",
            f"{stats.online.seconds:.2f}", f"{stats.online.seconds / seconds:.1f}",
            f"{max(stats.memory.values()) / 1e6:,.0f}", f"{error:.1%}")  # fmt: skip


def _timed(model: torch.nn.Module, x: torch.Tensor) -> tuple[float, torch.Tensor]:
    start = time.perf_counter()
    y = model(x)
    return time.perf_counter() - start, y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help="of timm")
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for name in parser.parse_args().names:
        print(f"| {' | '.join(measured(name))} |", flush=True)


if __name__ == "__main__":
    main()
