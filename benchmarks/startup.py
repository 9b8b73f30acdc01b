"""How long a private run takes from the call to the answer, and what memory parties and services hold.

    python benchmarks/startup.py [--repeats 5] [--json FILE]

The digits' network of the demo (ResNet-14, 512 ReLUs kept), one image, one thread a party. It runs on any version of
the package, the one that is installed where it is called, so that two can be compared: each part in a new process,
seconds of the first `program.run` there and the median of those after it. Peak memory is what the kernel counts of a
process (VmHWM), pages that a fork shares with others included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Where a process says that it listens.
_LISTENING = '"listening"'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=("made", "run"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps({"made": made, "run": run}[args.part](args.folder, args.repeats)))
        return
    with tempfile.TemporaryDirectory() as folder:
        of_itself("made", folder, args.repeats)
        found = of_itself("run", folder, args.repeats) | services(Path(folder))
    print("\n".join(table(found)))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def of_itself(part: str, folder: str, repeats: int) -> dict:
    command = [sys.executable, __file__, "--part", part, "--folder", folder, "--repeats", str(repeats)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def made(folder: Path, _: int) -> dict:
    """The program, its public part, and an image."""
    import numpy as np
    import torch

    import autorep_fx as ar
    from autorep_fx.models import ImageLoader, digits, resnet_cifar
    from autorep_fx.secure.files import publish

    torch.manual_seed(0)
    train, test = digits()
    network = ar.transform(resnet_cifar(14, in_channels=1), example_inputs=train.normalized(slice(2)))
    ar.finetune(network, ImageLoader(train, 64, train=True, pad=1), epochs=2, lr=3e-3, progress=False)
    hybrid = ar.transform(network, calibration=(train.normalized(slice(512)), train.labels[:512]), relu_budget=512)
    ar.compile(hybrid.eval(), train.normalized(slice(512))).save(folder / "program")
    publish(folder / "program", folder / "public")
    np.save(folder / "x.npy", test.normalized(slice(1)).numpy())
    return {}


def run(folder: Path, repeats: int) -> dict:
    """On this machine."""
    import numpy as np
    import torch

    import autorep_fx as ar

    program, x = ar.SecureProgram.load(folder / "program"), torch.from_numpy(np.load(folder / "x.npy"))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = program.run(x)
        seconds.append(time.perf_counter() - start)
    with program.session() as session:
        session.run(x)
        memory = {name: peak(process.pid) for name, process in session._session.processes.items()}
    online = 1e3 * result.stats.online.seconds
    return {"first run s": seconds[0], "run s": statistics.median(seconds[1:]), "online ms": online,
            "party MB": {name: memory[name] for name in ("client", "server", "dealer")}}  # fmt: skip


def services(folder: Path) -> dict:
    """As commands, over plain TCP on loopback."""
    common = ["--timeout", "60", "--program"]
    started, starts, memory = [], {}, {}
    try:
        addresses = []
        for name, options in (
            ("deal", [*common, folder / "public"]),
            ("serve", [*common, folder / "program", "--dealer"]),
        ):
            start = time.perf_counter()
            process = command(name, *options, *addresses[-1:], "--listen", "127.0.0.1:0", stderr=subprocess.PIPE)
            started.append(process)
            addresses.append(next(json.loads(line)["at"] for line in process.stderr if _LISTENING in line))
            starts[name] = time.perf_counter() - start
        start = time.perf_counter()
        asked = command("ask", *common, folder / "public", "--dealer", addresses[0], "--server", addresses[1],
                        folder / "x.npy", stdout=subprocess.DEVNULL)  # fmt: skip
        while asked.poll() is None:
            memory["ask"] = peak(asked.pid) or memory["ask"]
            time.sleep(0.01)
        starts["ask"] = time.perf_counter() - start
        assert asked.returncode == 0
        memory |= {name: peak(process.pid) for name, process in zip(("deal", "serve"), started)}
    finally:
        for process in started:
            process.kill()
            process.wait()
    return {"service s": starts, "service MB": {name: memory[name] for name in starts}}


def command(name: str, *options: object, **streams) -> subprocess.Popen:
    arguments = [sys.executable, "-W", "ignore", "-m", "autorep_fx", name, *map(str, options)]
    return subprocess.Popen(arguments, text=True, **streams)


def peak(pid: int) -> float:
    """Megabytes; 0 of a process that has ended."""
    try:
        found = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()
    except OSError:
        return 0.0
    return int(found[0]) / 1e3 if found else 0.0


def table(found: dict) -> list[str]:
    rows = [("seconds from `program.run` to the answer, first of a process", found["first run s"], 2),
            ("the same, later ones", found["run s"], 2),
            ("of it online, ms", found["online ms"], 1)]  # fmt: skip
    rows += [(f"MB, {name}", size, 0) for name, size in found["party MB"].items()]
    rows += [(f"MB, `{name}`", size, 0) for name, size in found["service MB"].items()]
    names = {"deal": "until `deal` listens", "serve": "until `serve` listens", "ask": "of one `ask`, from start to end"}
    rows += [(f"seconds {names[name]}", seconds, 2) for name, seconds in found["service s"].items()]
    return ["| | |", "|---|---|", *(f"| {text} | {value:.{digits}f} |" for text, value, digits in rows)]


if __name__ == "__main__":
    main()
