"""Correlations without a dealer: what client and server need before there is an input, beside plain PyTorch and a
dealer.

CIFAR ResNet-18 on one image, one thread a party, processes on this machine: seconds and bytes of both phases, memory
of a party, times plain fp32 in the same run; by SoftSpokenOT and by Ferret; on a LAN and a WAN, predicted and run on
links that are slowed down; and 16 inferences prepared together.

    python benchmarks/no_dealer.py --json docs/no_dealer.json [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from pathlib import Path

import torch
from private_inference import BUDGET, compiled, machine, plain, with_lines, with_statistics

import autorep_fx as ar
from autorep_fx.models import resnet18
from autorep_fx.secure.host.threads import connect
from autorep_fx.secure.makers.table import PAIRED, PAIRED_SMALL
from autorep_fx.secure.program.plaintext import execute

#: How many are prepared together.
TOGETHER = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, images = torch.randn(1, 3, 32, 32).clamp(-4, 4), torch.randn(32, 3, 32, 32).clamp(-4, 4)
    model = with_statistics(resnet18(), images)
    programs = {
        "all": compiled(ar.transform(model, example_inputs=x), images),
        "squares": compiled(ar.transform(model, calibration=images, relu_budget=BUDGET), images),
        "6 sites, lines": compiled(with_lines(model, images)["6_sites"], images),
    }
    found = {"machine": machine(), "plain_fp32": plain(model, x, 20)["seconds"], "runs": {}}
    for which, program in programs.items():
        for network in (None, "lan", "wan"):
            row = measured(program, x, network, args.repeats)
            found["runs"][f"{which}, {network or 'loopback'}"] = row
            print(f"{which}, {network or 'loopback'}:", shown(row, found["plain_fp32"]), flush=True)
        found["runs"][f"{which}, dealer"] = row = measured(program, x, None, args.repeats, dealer=True)
        print(f"{which}, dealer:", shown(row, found["plain_fp32"]), flush=True)
    for maker in (PAIRED, PAIRED_SMALL):
        found[f"{TOGETHER} together, {maker.name}"] = row = together(programs["all"], maker)
        print(f"all, {TOGETHER} together, {maker.name}: {row}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def measured(
    program: ar.SecureProgram, x: torch.Tensor, network: str | None, repeats: int, dealer: bool = False
) -> dict:
    """Of one inference: the median of some, behind a first one that warms the processes up."""
    reference = execute(program, x)
    options = {"network": network, "dealer": dealer, "comparison": "gmw"}
    with program.session(**options) as session:
        results = [session.run(x) for _ in range(1 + repeats)][1:]
    predicted = program.cost(network or "loopback", dealer=dealer, comparison="gmw")
    phases = {phase: [getattr(r.stats, phase) for r in results] for phase in ("offline", "online")}
    return {
        **{phase: statistics.median(p.seconds for p in phases[phase]) for phase in phases},
        "predicted_offline": predicted.offline_seconds,
        "predicted_online": predicted.online_seconds,
        "offline_bytes": sum(phases["offline"][0].bytes_sent.values()),
        "online_bytes": sum(phases["online"][0].bytes_sent.values()),
        "offline_rounds": phases["offline"][0].rounds,
        "memory": results[-1].stats.memory,
        "error": float(max((r.output - reference).abs().max() for r in results)),
    }


def together(program: ar.SecureProgram, maker) -> dict:
    """Seconds and bytes of each of some that are prepared together, both parties as threads of one process."""
    plan, numbers = program.native
    members = connect(plan.with_comparison("gmw"), numbers, maker=maker, timeout=600)
    taken: dict[str, float] = {}

    def prepare(role: str) -> None:
        member = members[role]
        member.setup()
        member.offline.prepare_several(1, 1)
        start = time.thread_time()
        member.offline.prepare_several(1, TOGETHER)
        taken[role] = time.thread_time() - start

    threads = [threading.Thread(target=prepare, args=(role,)) for role in members]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = sum(member.party.count().total_bytes for member in members.values())
    return {
        "wall": (time.monotonic() - start) / (TOGETHER + 1),
        **{f"{role}_cpu": seconds / TOGETHER for role, seconds in taken.items()},
        "bytes": sent / TOGETHER,
    }


def shown(row: dict, plain_seconds: float) -> str:
    memory = max(row["memory"].values()) / 1e6
    return (
        f"offline {row['offline']:.3f} s ({row['offline'] / plain_seconds:.0f} times fp32; predicted "
        f"{row['predicted_offline']:.3f}), {row['offline_bytes'] / 1e6:.1f} MB, {row['offline_rounds']} rounds; online "
        f"{row['online'] * 1e3:.1f} ms (predicted {row['predicted_online'] * 1e3:.1f}); {memory:.0f} MB a party; "
        f"off by {row['error']:.4f}"
    )


if __name__ == "__main__":
    main()
