"""Correlations without a dealer: what client and server need before there is an input, beside plain PyTorch, a dealer,
and SPU's Cheetah.

CIFAR ResNet-18 on one image, one thread a party, processes on this machine: seconds and bytes of both phases, memory
of a party, times plain fp32 in the same run; by SoftSpokenOT and by Ferret; on a LAN and a WAN, predicted and run on
links that are slowed down; 16 inferences prepared together; the same network on SPU's Cheetah, from input to output;
and large networks on photographs of 224x224: EfficientNet-Lite0 with its published weights (extra `imagenet`), and
ResNet-50 of torchvision with random ones.

    python benchmarks/no_dealer.py --json docs/no_dealer.json [--repeats 5] [--spu-python /path/to/python]
    python benchmarks/no_dealer.py --only all together --tier avx2
    python benchmarks/speed_table.py

The last makes the table of docs/performance.md of docs/no_dealer.json.
What is missing (SPU, torchvision, the weights) is skipped with a word.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from private_inference import BUDGET, compiled, machine, plain, with_lines, with_statistics

import autorep_fx as ar
from autorep_fx import kernels
from autorep_fx.models import imagenet, resnet18
from autorep_fx.secure.host.threads import connect
from autorep_fx.secure.makers.table import PAIRED, PAIRED_SMALL
from autorep_fx.secure.program.plaintext import execute

#: How many are prepared together.
TOGETHER = 16

#: What there is to run: three forms of CIFAR ResNet-18, and what the others are.
PARTS = ("all", "squares", "6 sites, lines", "together", "spu", "efficientnet_lite0", "resnet50")

#: Of a session with a large network.
_PATIENCE = 1800.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--networks", nargs="*", choices=("lan", "wan"), default=("lan", "wan"), help="shapes to run on"
    )
    parser.add_argument("--tier", choices=kernels.available_tiers(), help="the kernels' instructions, of all processes")
    parser.add_argument("--spu-python", type=Path, help="an interpreter that has the package spu (0.9.5)")
    args = parser.parse_args()
    if args.tier:
        os.environ["AUTOREP_FX_CPU"] = args.tier  # of the parties' processes
        kernels.set_tier(args.tier)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, images = torch.randn(1, 3, 32, 32).clamp(-4, 4), torch.randn(32, 3, 32, 32).clamp(-4, 4)
    model = with_statistics(resnet18(), images)
    makers = {
        "all": lambda: compiled(ar.transform(model, example_inputs=x), images),
        "squares": lambda: compiled(ar.transform(model, calibration=images, relu_budget=BUDGET), images),
        "6 sites, lines": lambda: compiled(with_lines(model, images)["6_sites"], images),
    }
    wanted = [which for which in makers if which in args.only or which == "all" and {"together", "spu"} & {*args.only}]
    programs = {which: makers[which]() for which in wanted}
    found = {"machine": machine(), "tier": kernels.tier(), "repeats": args.repeats,
             "plain_fp32": plain(model, x, 20)["seconds"], "runs": {}}  # fmt: skip
    for which in [which for which in programs if which in args.only]:
        for network in (None, *args.networks):
            row = measured(programs[which], x, network, args.repeats)
            found["runs"][f"{which}, {network or 'loopback'}"] = row
            print(f"{which}, {network or 'loopback'}:", shown(row, found["plain_fp32"]), flush=True)
        found["runs"][f"{which}, dealer"] = row = measured(programs[which], x, None, args.repeats, dealer=True)
        print(f"{which}, dealer:", shown(row, found["plain_fp32"]), flush=True)
    for maker in (PAIRED, PAIRED_SMALL) if "together" in args.only else ():
        found[f"{TOGETHER} together, {maker.name}"] = row = together(programs["all"], maker)
        print(f"all, {TOGETHER} together, {maker.name}: {row}", flush=True)
    if "spu" in args.only:
        found["spu_cheetah"] = row = spu_cheetah(programs["all"], x, args.spu_python)
        print(f"all, SPU's Cheetah: {row}", flush=True)
    for name in ("efficientnet_lite0", "resnet50"):
        if name in args.only:
            found[name] = row = large(name)
            print(f"{name}: {row}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def spu_cheetah(program: ar.SecureProgram, x: torch.Tensor, python: Path | None) -> dict | str:
    """Seconds, bytes and memory of the same network on SPU; or why there are none."""
    if python is None:
        return "skipped: --spu-python names no interpreter that has SPU"
    steps = []
    for step in program.steps:
        op = {"hybrid": "relu", "avg_pool2d": "mean"}.get(step.op, step.op)
        if op != "reshape":  # of one pixel
            steps.append({"name": step.name, "op": op, "inputs": [*step.inputs], "secrets": [*step.secrets.values()],
                          **{name: step.attrs[name] for name in ("stride", "padding") if op == "conv2d"}})  # fmt: skip
    same = {step.name: step.inputs[0] for step in program.steps if step.op == "reshape"}
    for step in steps:
        step["inputs"] = [same.get(name, name) for name in step["inputs"]]
    names = [name for step in steps for name in step["secrets"]]
    arrays = {name: program.server[name].numpy() for name in names}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.npz")
        np.savez(path, steps=json.dumps(steps), names=json.dumps(names), x=x.numpy(),
                 expected=execute(program, x).numpy(), **arrays)  # fmt: skip
        script = Path(__file__).with_name("spu_cheetah.py")
        done = subprocess.run([python, script, path], capture_output=True, text=True, env=clean(), timeout=3600)
    if done.returncode:
        return f"skipped: {python} {script.name} ends with {done.returncode}: {done.stderr.strip()[-300:]}"
    return json.loads(done.stdout.splitlines()[-1])


def clean() -> dict[str, str]:
    """The environment for another interpreter, whose packages are its own."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def large(name: str) -> dict | str:
    """Of a large network on photographs: seconds and megabytes of both phases, memory, and whether the class is that of
    the network in plaintext; or why there is none."""
    torch.manual_seed(0)
    try:
        pictures = imagenet.photographs().values()
        x = torch.stack([crop for picture in pictures for crop in imagenet.crops(picture, 4)])
        model = imagenet.efficientnet_lite0() if name == "efficientnet_lite0" else with_statistics(_resnet50(), x)
    except ImportError as error:  # MissingDependency is one
        return f"skipped: {error}"
    asked = torch.stack([imagenet.centre(picture) for picture in pictures][:2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gm = ar.transform(model, example_inputs=x[:1])
        program = ar.compile(gm, x, max_error=1.0, network="lan", dealer=False)
    seconds = []
    with torch.no_grad():
        plain_class = model(asked).argmax(1)
        for one in asked:
            start = time.perf_counter()
            model(one[None])
            seconds.append(time.perf_counter() - start)
    with program.session(dealer=False, timeout=_PATIENCE) as session:
        results = [session.run(one[None]) for one in asked]
    last = results[-1].stats
    return {
        "plain_fp32": min(seconds),
        "activations": ar.relu_count(gm),
        **{phase: getattr(last, phase).seconds for phase in ("offline", "online")},
        **{f"{phase}_bytes": sum(getattr(last, phase).bytes_sent.values()) for phase in ("offline", "online")},
        "memory": last.memory,
        "same_class": int((torch.cat([r.output for r in results]).argmax(1) == plain_class).sum()),
        "of": len(asked),
    }


def _resnet50() -> torch.nn.Module:
    import torchvision

    return torchvision.models.resnet50(weights=None)


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
