"""Private inference end to end, all systems in one run: seconds, bytes, rounds, errors.

CIFAR ResNet-18 (557,056 ReLUs) on one image, one thread per party, processes on this machine: plain PyTorch, CrypTen
(its own operations; our kernels with all ReLUs, with 12,900 and with none), and the native runtime with all ReLUs kept
(both comparison variants), with 12,900 kept and squares at the rest, and with lines at the rest: 12,900 anywhere,
12,900 in the six sites where they matter most, and none. Then batches of 64, the LAN and WAN shapes, and the precision
on networks trained on scikit-learn's digits and on Fashion-MNIST (Debian's package dataset-fashion-mnist), where that
is installed.

    python benchmarks/private_inference.py --repeats 7 --json docs/speed.json    # then: speed_table.py
    python benchmarks/private_inference.py --only plain_fp32 native_gmw_all --repeats 9
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch

import autorep_fx as ar
from autorep_fx import kernels
from autorep_fx.graph.batches import Batches
from autorep_fx.hybrid import scores as one_shot
from autorep_fx.hybrid.fitting import Fitting, fit_replaced
from autorep_fx.hybrid.positions import choose
from autorep_fx.models import ImageLoader, Images, digits, fashion_mnist, resnet18, resnet_cifar
from autorep_fx.secure.link.network import NETWORKS
from autorep_fx.secure.program.plaintext import execute

#: Where Debian's package dataset-fashion-mnist puts its files; without them the digits have to do.
FASHION = Path("/usr/share/datasets/fashion-mnist")
BUDGET = 12_900
BATCH = 64
#: name -> (the operations' kernels, which network)
CRYPTEN = {
    "crypten_relu": ("torch", "all"),  # CrypTen's own operations
    "crypten_fused": ("fused", "all"),
    "crypten_fused_12900": ("fused", "12900"),
    "crypten_fused_squares": ("fused", "squares"),
}
#: name -> (comparison, which network)
NATIVE = {
    "native_fss_all": ("fss", "all"),
    "native_gmw_all": ("gmw", "all"),
    "native_fss_12900": ("fss", "12900"),
    "native_gmw_12900": ("gmw", "12900"),
    "native_12900_lines": ("fss", "12900_lines"),
    "native_6_sites": ("fss", "6_sites"),
    "native_lines": ("fss", "lines"),
}
SYSTEMS = ("plain_fp32", *CRYPTEN, *NATIVE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs of each system; the median is reported")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument(
        "--networks", nargs="*", choices=("lan", "wan"), default=("lan", "wan"), help="shapes to run under"
    )
    parser.add_argument("--no-batch", action="store_true", help=f"leave out the batches of {BATCH}")
    parser.add_argument("--no-precision", action="store_true", help="leave out the trained networks")
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, images = torch.randn(1, 3, 32, 32), torch.randn(32, 3, 32, 32)
    model = with_statistics(resnet18(), images)
    programs = {
        "all": compiled(ar.transform(model, example_inputs=x), images),
        str(BUDGET): compiled(ar.transform(model, calibration=images, relu_budget=BUDGET), images),
        "squares": compiled(ar.transform(model, calibration=images, relu_budget=0), images),
        # Lines are for slow networks: there no message is worth what it saves of a ring's width.
        **{name: compiled(gm, images, network="wan") for name, gm in with_lines(model, images).items()},
    }
    expected = {name: execute(program, x) for name, program in programs.items()}

    rows: dict[str, dict] = {}
    for name in args.only:
        if name == "plain_fp32":
            rows[name] = plain(model, x, args.repeats)
        elif name in CRYPTEN:
            operations, which = CRYPTEN[name]
            rows[name] = crypten(programs[which], x, expected[which], args.repeats, operations)
        else:
            comparison, which = NATIVE[name]
            rows[name] = native(programs[which], x, expected[which], comparison, args.repeats)
        print(f"{name:19}", " ".join(f"{k}={_text(v)}" for k, v in rows[name].items()), flush=True)
    if "plain_fp32" in rows:  # again at the end: a baseline that was measured beside other work would flatter the rest
        again = plain(model, x, args.repeats)
        rows["plain_fp32"] = min(rows["plain_fp32"], again, key=lambda row: row["seconds"])
    results = {"command": command(args), "repeats": args.repeats, "machine": machine(), "systems": rows,
               "seconds": {name: row["seconds"] for name, row in rows.items()}}  # fmt: skip
    if native_12900 := [rows[n]["seconds"] for n in rows if n in NATIVE and NATIVE[n][1] == "12900"]:
        results["seconds"]["native_12900"] = min(native_12900)
    results["ratios"] = ratios(results["seconds"])
    for name, value in results["ratios"].items():
        print(f"{name}: {value:.1f}")

    if not args.no_batch:
        results["batch"] = batched(model, programs)
        print(f"batch {BATCH}:", " ".join(f"{k}={_text(v)}" for k, v in results["batch"].items()), flush=True)
    results["networks"] = {}
    for shape in args.networks:
        results["networks"][shape] = shaped(shape, programs, x, rows, args)
    if not args.no_precision:
        results["precision"] = precision()
        print("precision:", " ".join(f"{k}={_text(v)}" for k, v in results["precision"].items()))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


def command(args: argparse.Namespace) -> str:
    """What measures the same again."""
    parts = ["python benchmarks/private_inference.py", f"--repeats {args.repeats}"]
    if len(args.only) < len(SYSTEMS):
        parts += ["--only", *args.only]
    if len(args.networks) < 2:
        parts += ["--networks", *args.networks]
    return " ".join([*parts, *["--no-batch"] * args.no_batch, *["--no-precision"] * args.no_precision])


def with_statistics(model: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
    """The network with its batch norms' statistics, as training leaves it: what values reach decides about wires."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # those of this pass
    with torch.no_grad():
        model.train()(images)
    return model.eval()


def compiled(gm: torch.fx.GraphModule, images: torch.Tensor, network: str = "lan") -> ar.SecureProgram:
    """With the bits that a trained network's classes take. Random weights on random images have none, and so little
    that tells images apart that fixed point errs by up to a tenth of it; ``precision`` counts classes."""
    return ar.compile(gm, images, precision=0.1, max_error=0.1, network=network)


def with_lines(model: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.fx.GraphModule]:
    """The networks whose replaced positions are lines, by which positions they keep."""
    full, batches = ar.transform(model, calibration=images, degree=1), Batches(images)
    scores = one_shot.scores(full, batches)
    most = sorted(scores, key=lambda name: -float(scores[name].flatten().topk(BUDGET // 6).values.sum()))[:6]
    chosen = {
        "12900_lines": choose(scores, BUDGET),
        "6_sites": choose({name: scores[name] for name in most}, BUDGET),
        "lines": {},
    }
    found = {}
    for which, masks in chosen.items():
        found[which] = copy.deepcopy(full)
        for name, site in ar.sites(found[which]).items():
            site.set_keep(masks.get(name, torch.zeros_like(site.keep)))
        fit_replaced(found[which], batches, Fitting(degree=1))
    return found


def plain(model: torch.nn.Module, x: torch.Tensor, repeats: int, least: int = 20) -> dict:
    seconds = []
    with torch.no_grad():
        for _ in range(3 + max(repeats, least)):
            start = time.perf_counter()
            model(x)
            seconds.append(time.perf_counter() - start)
    return spread(seconds[3:])


def crypten(program: ar.SecureProgram, x: torch.Tensor, expected: torch.Tensor, repeats: int, used: str) -> dict:
    results = [program.run(x, backend="crypten", kernels=used) for _ in range(repeats)]
    online = results[0].stats.online
    return spread([r.stats.online.seconds for r in results]) | {
        "rounds": online.rounds,
        "bytes": sum(online.bytes_sent.values()),
        "error": max(float((r.output - expected).abs().max()) for r in results),
    }


def native(program: ar.SecureProgram, x: torch.Tensor, expected: torch.Tensor, comparison: str, repeats: int,
           network: str | None = None) -> dict:  # fmt: skip
    with program.session(comparison=comparison, network=network, batch=len(x)) as session:
        session.run(x)  # the first inference warms the processes up
        results = [session.run(x) for _ in range(repeats)]
        setup = session.setup
    online, offline = results[0].stats.online, results[0].stats.offline
    positions = sum(s.size for s in program.plan(comparison=comparison).steps if s.op == "activation")
    return spread([r.stats.online.seconds for r in results]) | {
        "rounds": online.rounds,
        "bytes": sum(online.bytes_sent.values()),
        "bytes_a_position": sum(online.bytes_sent.values()) / positions,
        "offline_seconds": statistics.median(r.stats.offline.seconds for r in results),
        "offline_bytes": offline.bytes_sent,
        "setup_seconds": setup.seconds,
        "setup_bytes": setup.bytes_sent,
        "error": max(float((r.output - expected).abs().max()) for r in results),
    }


def batched(model: torch.nn.Module, programs: dict) -> dict:
    """Seconds an image in batches, and how many times plain fp32's in batches of the same size."""
    x = torch.randn(BATCH, 3, 32, 32).clamp(-4, 4)
    plain_seconds = min(plain(model, x, 1, least=5)["fastest"], plain(model, x, 1, least=5)["fastest"]) / BATCH
    found = {"images": BATCH, "plain_fp32": plain_seconds}
    for name in ("native_fss_12900", "native_gmw_all"):
        comparison, which = NATIVE[name]
        row = native(programs[which], x, execute(programs[which], x), comparison, 3)
        for phase, seconds in (("online", row["seconds"]), ("offline", row["offline_seconds"])):
            found[f"{name}_{phase}"] = seconds / BATCH
            found[f"{name}_{phase}_ratio"] = seconds / BATCH / plain_seconds
    return found


def shaped(shape: str, programs: dict, x: torch.Tensor, rows: dict, args: argparse.Namespace) -> dict:
    """Native by measurement; CrypTen by its measured seconds and its rounds and bytes over the shape."""
    network, found = NETWORKS[shape], {}
    for name in [n for n in rows if n in CRYPTEN]:
        row = rows[name]
        found[name] = row["seconds"] + row["rounds"] * network.delay + network.seconds(row["bytes"])
    for name in args.only:
        if name in NATIVE:
            comparison, which = NATIVE[name]
            reference = execute(programs[which], x)
            row = native(programs[which], x, reference, comparison, max(3, args.repeats // 2), shape)
            predicted = programs[which].cost(network, comparison=comparison)
            found[name] = row["seconds"]
            found[f"{name}_predicted"] = predicted.online_seconds
            found[f"{name}_offline_predicted"] = predicted.offline_seconds
    print(shape, " ".join(f"{k}={_text(v)}" for k, v in found.items()), flush=True)
    return found


def precision() -> dict:
    """Classes and logits of test images: private against plain float, for trained networks and their hybrids."""
    found = {"digits": precision_on(*digits(), images=360, epochs=8)}
    if FASHION.is_dir():
        train, test = fashion_mnist(FASHION)
        found["fashion"] = precision_on(train[:12_000], test, images=200, epochs=4)
    return found


def precision_on(train: Images, test: Images, images: int, epochs: int) -> dict:
    """A ResNet-8, with squares or lines at nineteen twentieths of its positions, and as it is."""
    torch.manual_seed(0)
    original = ar.transform(resnet_cifar(8, in_channels=1), example_inputs=train.normalized(slice(2)))
    ar.finetune(original, ImageLoader(train, 64, train=True, pad=1), epochs=epochs, lr=3e-3, progress=False)
    networks, calibration = {"relu": original.eval()}, train.normalized(slice(512))
    for name, degree in (("squares", 2), ("lines", 1)):
        twentieth = ar.relu_count(original) // 20
        hybrid = ar.transform(original, calibration=calibration, relu_budget=twentieth, degree=degree)
        ar.finetune(hybrid, ImageLoader(train, 64), teacher=original, epochs=max(epochs // 2, 1), progress=False)
        networks[name] = hybrid.eval()
    x, found = test.normalized(slice(images)), {"images": images}
    for name, gm in networks.items():
        program = ar.compile(gm, train.normalized(slice(256)))
        with torch.no_grad():
            logits = gm(x)
        found[f"{name}_accuracy"] = float((logits.argmax(1) == test.labels[:images]).double().mean())
        for comparison in ("fss", "gmw"):
            output = program.run(x, backend="native", comparison=comparison).output
            found[f"{name}_{comparison}_same_class"] = float((output.argmax(1) == logits.argmax(1)).double().mean())
            found[f"{name}_{comparison}_largest_error"] = float((output - logits).abs().max())
    return found


def spread(seconds: list[float]) -> dict:
    return {
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "runs": len(seconds),
    }


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    found = {}
    best = min((seconds[n] for n in ("native_fss_all", "native_gmw_all") if n in seconds), default=None)
    hybrid = seconds.get("native_12900")
    if crypten_seconds := seconds.get("crypten_relu"):
        if best:
            found["all ReLUs: times faster than CrypTen"] = crypten_seconds / best
        if hybrid:
            found["12,900 ReLUs: times faster than CrypTen with all"] = crypten_seconds / hybrid
    if fp32 := seconds.get("plain_fp32"):
        found |= {f"{name}: times plain fp32": seconds[name] / fp32 for name in seconds if name.startswith("native")}
    return found


def machine() -> dict:
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        name = next(
            (line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line), name
        )
    return {"cpu": name, "cores": os.cpu_count(), "tier": kernels.tier() if kernels.available() else "none",
            "torch": torch.__version__, "load": os.getloadavg()[0]}  # fmt: skip


def _text(value) -> str:
    if isinstance(value, dict):
        return "{" + " ".join(f"{k}:{_text(v)}" for k, v in value.items()) + "}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


if __name__ == "__main__":
    main()
