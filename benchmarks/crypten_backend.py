"""One image through ResNet-18 between two parties: CrypTen's own ``relu()`` against the fused kernels, in one run.

    python benchmarks/crypten_backend.py [--repeats 5] [--json FILE]

Every row is the same network (CIFAR ResNet-18, batch norm folded, weights as initialised), two spawned processes with
one thread each on loopback, correlations made inside the measured time by party 0 (CrypTen's trusted first party). A
row of every kind is run before any is run again, so a busy machine hits all alike; medians are over the repetitions,
and each repetition is a fresh pair of processes, connected and with its weights shared before the clock starts.

``crypten_plain`` is plain CrypTen 0.4.1: its tensors, its ``conv2d``, ``matmul``, ``avg_pool2d`` and ``relu()``.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import autorep_fx as ar
from autorep_fx.models import resnet18
from autorep_fx.secure.crypten import wire
from autorep_fx.secure.crypten.compat import load_crypten
from autorep_fx.secure.crypten.meter import Meter
from autorep_fx.secure.program.plaintext import execute

BUDGET = 12_900


class Row(NamedTuple):
    """One private inference. Bytes are what both parties put on the wire."""

    seconds: float
    rounds: int
    bytes: int
    error: float


def crypten_plain(program: ar.SecureProgram, x: Tensor) -> Row:
    """The program with every ReLU kept, on plain CrypTen tensors."""
    weights = {key: value.float().numpy() for key, value in program.server.items()}
    reports = between_two(_party, program.public, (weights, x.numpy()))
    output = torch.from_numpy(reports[1]["output"])
    sent = sum(report["bytes"] for report in reports)
    return Row(reports[1]["seconds"], reports[1]["rounds"], sent, _error(program, x, output))


def between_two(party: Callable[..., None], *given: Any) -> list[dict]:
    """What each of two processes of ``party(rank, folder, *given, pipe)`` sends, the server's first."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(2)]
        parties = [
            context.Process(target=party, args=(rank, folder, *given, pipe[1]), daemon=True)
            for rank, pipe in enumerate(pipes)
        ]
        for process, pipe in zip(parties, pipes):
            process.start()
            pipe[1].close()  # so that the pipe of a party that dies reads as closed
        reports = [pipe[0].recv() for pipe in pipes]
        for process in parties:
            process.join()
    return reports


def connected(rank: int, folder: str) -> Any:
    """CrypTen in one of them, with one thread; its first party makes the triples."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.update(WORLD_SIZE="2", RANK=str(rank), RENDEZVOUS=f"file://{folder}/rendezvous",
                      DISTRIBUTED_BACKEND="gloo", GLOO_SOCKET_IFNAME=loopback)  # fmt: skip
    torch.set_num_threads(1)
    crypten = load_crypten()
    crypten.init()
    crypten.cfg.mpc.provider = "TFP"
    return crypten


def _party(rank: int, folder: str, public: Any, of_both: tuple, pipe: Any) -> None:
    data = of_both[rank]
    crypten = connected(rank, folder)
    meter = Meter(crypten, lambda waits: None)

    def share(value: Any, shape: tuple[int, ...], owner: int) -> Any:
        tensor = torch.from_numpy(value) if rank == owner else torch.empty(shape)
        return crypten.cryptensor(tensor, src=owner)

    secrets = {key: share(data[key] if rank == 0 else None, shape, 0) for key, shape in public.secret_shapes.items()}
    gc.freeze()  # as our parties do
    crypten.communicator.get().barrier()
    meter.reset()
    before, start = sent(), time.perf_counter()
    values = {public.input: share(data, (1, *public.input_shape), 1)}
    for step in public.steps:
        mine = {role: secrets[key] for role, key in step.secrets.items()}
        values[step.name] = _OPS[step.op](step, mine, *(values[name] for name in step.inputs))
    output = values[public.output].get_plain_text(dst=1)
    seconds = time.perf_counter() - start
    pipe.send({"seconds": seconds, "rounds": meter.rounds[0], "bytes": sent() - before,
               "output": None if output is None else output.numpy()})  # fmt: skip
    crypten.communicator.get().barrier()
    crypten.uninit()


def sent() -> int:
    return sum(link.sent for link in wire.links()) if wire.can_count() else 0


def _conv2d(step, secrets, x):
    options = {name: step.attrs[name] for name in ("stride", "padding", "dilation", "groups")}
    y = x.conv2d(secrets["weight"], **options)
    return y + secrets["bias"].reshape(1, -1, 1, 1) if "bias" in secrets else y


_OPS = {
    "conv2d": _conv2d,
    "linear": lambda step, secrets, x: x.matmul(secrets["weight"].t()) + secrets["bias"],
    "add": lambda step, secrets, x, y: x + y,
    "avg_pool2d": lambda step, secrets, x: x.avg_pool2d(step.attrs["kernel"], stride=step.attrs["stride"]),
    "reshape": lambda step, secrets, x: x.reshape(len(x), *step.shape),
    "hybrid": lambda step, secrets, x: x.relu(),
}


def ours(program: ar.SecureProgram, x: Tensor, kernels: str) -> Row:
    result = program.run(x, backend="crypten", kernels=kernels)
    online = result.stats.online
    return Row(online.seconds, online.rounds, sum(online.bytes_sent.values()), _error(program, x, result.output))


def _error(program: ar.SecureProgram, x: Tensor, output: Tensor) -> float:
    """Largest difference to the program in exact arithmetic, relative to its largest output."""
    exact = execute(program, x)
    error = float((output.double() - exact).abs().max() / exact.abs().max())
    if not error < 0.05:
        raise RuntimeError(f"the private result is wrong: largest relative error {error:.3g}")
    return error


def programs(x: Tensor) -> dict[str, ar.SecureProgram]:
    """The network with all ReLUs, with a budget of them, and with none."""
    torch.manual_seed(0)
    model, calibration = resnet18().eval(), torch.randn(4, *x.shape[1:])
    found = {"all": ar.compile(ar.transform(model, example_inputs=x), x)}
    for budget in (BUDGET, 0):
        found[str(budget)] = ar.compile(ar.transform(model, calibration=calibration, relu_budget=budget), x)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--torch", action="store_true", help='also the rows of kernels="torch"')
    options = parser.parse_args()
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = programs(x)
    runs = {"crypten_plain": lambda: crypten_plain(found["all"], x)}
    for kernels in ("fused", "torch") if options.torch else ("fused",):
        for name, program in found.items():
            runs[f"{kernels}_{name}"] = lambda program=program, kernels=kernels: ours(program, x, kernels)
    rows: dict[str, list[Row]] = {name: [] for name in runs}
    for _ in range(options.repeats):
        for name, run in runs.items():
            rows[name].append(run())
    report(rows)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(summary(rows), file, indent=1)


def report(rows: dict[str, list[Row]]) -> None:
    base = [row.seconds for row in rows["crypten_plain"]]
    print(f"{'':14} {'seconds':>8} {'spread':>15} {'times faster':>13} {'rounds':>7} {'MB, both':>9} {'error':>8}")
    for name, runs in rows.items():
        seconds = [row.seconds for row in runs]
        ratio = statistics.median(base) / statistics.median(seconds)
        spread = f"{min(seconds):.3f}-{max(seconds):.3f}"
        last = runs[-1]
        print(f"{name:14} {statistics.median(seconds):8.3f} {spread:>15} {ratio:13.2f} {last.rounds:7} "
              f"{last.bytes / 1e6:9.1f} {max(r.error for r in runs):8.1e}")  # fmt: skip


def summary(rows: dict[str, list[Row]]) -> dict[str, Any]:
    return {
        "seconds": {name: statistics.median(row.seconds for row in runs) for name, runs in rows.items()},
        "rounds": {name: runs[-1].rounds for name, runs in rows.items()},
        "bytes": {name: runs[-1].bytes for name, runs in rows.items()},
        "all_seconds": {name: [row.seconds for row in runs] for name, runs in rows.items()},
    }


if __name__ == "__main__":
    main()
