"""What it costs to check a client: the same plan unchecked and checked, beside plain PyTorch, in one run.

CIFAR ResNet-18 with 12,900 ReLUs and squares, and EfficientNet-Lite0 (extra ``imagenet``), one image, one thread a
party, processes on this machine that take turns: seconds and bytes of both phases, rounds, and how many times those of
the unchecked run that is; and once more with inputs clipped inside the protocol, as ``checked=True`` has them by
default.

    python benchmarks/checked.py [--only resnet18 efficientnet_lite0] [--repeats 9] [--network lan] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import statistics
import warnings
from pathlib import Path

import torch
from private_inference import BUDGET, machine, plain, with_statistics

import autorep_fx as ar
from autorep_fx.errors import CompileWarning
from autorep_fx.models import imagenet, resnet18
from autorep_fx.secure.program.plaintext import execute


def resnet18_squares() -> tuple[torch.nn.Module, torch.fx.GraphModule, torch.Tensor]:
    """Network, hybrid and examples. Random weights: precision as of the other tables (private_inference.py)."""
    torch.manual_seed(0)
    images = torch.randn(32, 3, 32, 32).clamp(-4, 4)
    model = with_statistics(resnet18(), images)
    return model, ar.transform(model, calibration=images, relu_budget=BUDGET), images


def efficientnet_lite0() -> tuple[torch.nn.Module, torch.fx.GraphModule, torch.Tensor]:
    """With its published weights; all ReLU6 are kept."""
    model, pictures = imagenet.efficientnet_lite0(), imagenet.photographs().values()
    x = torch.stack([imagenet.centre(picture) for picture in pictures])
    examples = torch.cat([x, *(torch.stack([*imagenet.crops(picture, 8)]) for picture in pictures)])
    return model, ar.transform(model, example_inputs=x[:1]), examples


#: Networks, with which options they are compiled, and whether the sessions of all programs are open at once. What one
#: inference of the larger network is dealt, checked, takes 6 GB at client and server each: there is one at a time, and
#: every run is the first of its processes.
NETWORKS = {
    "resnet18": (resnet18_squares, {"precision": 0.1, "max_error": 0.1}, True),
    "efficientnet_lite0": (efficientnet_lite0, {}, False),
}


def measure(name: str, repeats: int, network: str | None) -> dict:
    build, options, at_once = NETWORKS[name]
    model, gm, images = build()
    x = images[:1]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", CompileWarning)
        checked = ar.compile(gm, images, checked=True, clamp=False, **options)
        clipped = ar.compile(gm, images, checked=True, **options)
        usual = ar.compile(gm, images, **options)
    programs = {
        "unchecked": dataclasses.replace(checked, base_plan=dataclasses.replace(checked.native[0], checked=False)),
        "checked": checked,
        "checked, clipped": clipped,
        "as compiled unchecked": usual,
    }
    rows = (in_turns if at_once else one_by_one)(programs, x, repeats, network)
    fp32 = plain(model, x, repeats)["seconds"]
    found = {which: row(results, execute(programs[which], x)) for which, results in rows.items()}
    for each in found.values():
        for phase in ("online", "offline"):
            each[f"{phase}, times unchecked"] = round(each[phase] / found["unchecked"][phase], 2)
            each[f"{phase}, times fp32"] = round(each[phase] / fp32, 1)
    return {"network": network or "loopback", "plain_fp32": fp32, "runs": found,
            "told": [str(w.message)[:160] for w in told]}  # fmt: skip


def in_turns(programs: dict, x: torch.Tensor, repeats: int, network: str | None) -> dict[str, list]:
    """Results by program, each in its session; in turns, so that whatever else the machine does befalls all of them."""
    rows = {which: [] for which in programs}
    with contextlib.ExitStack() as stack:
        session = {which: stack.enter_context(opened(program, network)) for which, program in programs.items()}
        for _ in range(1 + repeats):
            for which, found in rows.items():
                found.append(session[which].run(x))
    return {which: found[1:] for which, found in rows.items()}


def one_by_one(programs: dict, x: torch.Tensor, repeats: int, network: str | None) -> dict[str, list]:
    """The same, each run in a session of its own."""
    rows = {which: [] for which in programs}
    for _ in range(repeats):
        for which, found in rows.items():
            with opened(programs[which], network) as session:
                found.append(session.run(x))
            print(
                f"  {which}: {found[-1].stats.offline.seconds:.1f} s, {found[-1].stats.online.seconds:.2f} s",
                flush=True,
            )
    return rows


def opened(program: ar.SecureProgram, network: str | None):
    return program.session(comparison="fss", network=network, timeout=900)


def row(results: list, reference: torch.Tensor) -> dict:
    """Medians of some runs of one program; reference: what it computes in the clear."""
    phases = {phase: [getattr(result.stats, phase) for result in results] for phase in ("offline", "online")}
    return {
        **{phase: statistics.median(p.seconds for p in found) for phase, found in phases.items()},
        **{f"{phase}_spread": [min(p.seconds for p in found), max(p.seconds for p in found)]
           for phase, found in phases.items()},
        "rounds": phases["online"][0].rounds,
        **{f"{phase}_bytes": phases[phase][0].bytes_sent for phase in phases},
        "memory": results[-1].stats.memory,
        "error": float(max((result.output - reference).abs().max() for result in results)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--network", choices=["lan", "wan"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {"machine": machine(), **{name: measure(name, args.repeats, args.network) for name in args.only}}
    for name in args.only:
        print(f"{name}, {found[name]['network']}, plain fp32 {found[name]['plain_fp32'] * 1e3:.1f} ms")
        for which, each in found[name]["runs"].items():
            print(f"  {which:22} " + "; ".join(
                f"{phase} {each[phase] * 1e3:.0f} ms, {each[f'{phase}, times unchecked']} times unchecked, "
                f"{sum(each[f'{phase}_bytes'].values()) / 1e6:.1f} MB" for phase in ("online", "offline")
            ) + f"; {each['rounds']} rounds; off by {each['error']:.4f}", flush=True)  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
