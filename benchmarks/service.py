"""The services on loopback, with TLS: latency beside a local session, load, and load while things break.

    python benchmarks/service.py --json service.json

First CIFAR ResNet-18 with 12,900 ReLUs, one client: online seconds with a prepared inference, in turns with a local
session. Then a small network, 8 clients at once, each a process, 1,000 inferences; then the same while the dealer, the
server and a client are killed and started again, and strangers say nothing, garbage, or the wrong thing. Each answer is
held against the network in plaintext, and each number against the ledgers of all three.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

import autorep_fx as ar
from autorep_fx.errors import PartyError, Refused
from autorep_fx.models import digits, resnet18, resnet_cifar
from autorep_fx.secure.files import publish
from autorep_fx.secure.link import tls
from autorep_fx.secure.link.stream import StreamChannel
from autorep_fx.service.certificates import make_certificates
from autorep_fx.service.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from services import Provider, all_ended  # noqa: E402

CLIENTS = 8
FREE = {"rate": 1e6, "client_rate": 1e6, "megabytes": 1e6, "client_megabytes": 1e6}
#: Seconds that an answer may take while things break: two starts of a party are in it.
PATIENCE = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inferences", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=25)
    parts = ("latency", "load", "faults")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        names = [f"client-{i}" for i in range(CLIENTS + 1)]
        make_certificates(Path(folder) / "certificates", ["server", "dealer", *names])
        make_certificates(Path(folder) / "others", ["client-0"])
        if "latency" in args.only:
            results["latency"] = latency(Path(folder), args.repeats)
            print("latency:", results["latency"], flush=True)
        for name in ("load", "faults"):
            if name in args.only:
                results[name] = load(Path(folder), args.inferences, broken=name == "faults")
                print(f"{name}:", results[name], flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


@contextlib.contextmanager
def provider(folder: Path, name: str, program: ar.SecureProgram, **options):
    home = folder / name
    program.save(home / "program")
    publish(home / "program", home / "public")
    found = Provider(home, folder / "certificates", home / "program", home / "public", **FREE, **options)
    try:
        yield found
    finally:
        found.close()


def latency(folder: Path, repeats: int) -> dict:
    """Milliseconds online, in turns, nothing being prepared meanwhile."""
    from private_inference import BUDGET, compiled, with_statistics

    images = torch.randn(32, 3, 32, 32)
    model = with_statistics(resnet18(), images)
    program = compiled(ar.transform(model, calibration=images, relu_budget=BUDGET), images)
    found: dict[str, list[float]] = {"local": [], "service": []}
    with provider(folder, "latency", program, server__comparison="fss", server__depth=1) as started:
        start = time.monotonic()
        with started.connect("client-0", timeout=120.0) as client, program.session(comparison="fss") as session:
            opened = time.monotonic() - start
            for i in range(repeats + 2):
                x = images[i % 32][None]
                client.wait(60)
                seconds = {"service": client.run(x).stats.online.seconds}
                client.wait(60)
                seconds["local"] = session.run(x).stats.online.seconds
                for name in found:
                    found[name] += [1e3 * seconds[name]] * (i >= 2)
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {**medians, "ratio": medians["service"] / medians["local"], "connect_s": opened}


def load(folder: Path, inferences: int, broken: bool) -> dict:
    train, _ = digits()
    x = train.normalized(slice(512))
    network = ar.transform(resnet_cifar(8, in_channels=1).eval(), calibration=x, relu_budget=500)
    program = ar.compile(network, x, precision=0.1, max_error=0.1)
    with torch.no_grad():
        expected = network(x[:64])
    bound = float((program.run(x[:64]).output - expected).abs().max()) * 2  # rounding differs from run to run
    name = "faults" if broken else "load"
    with provider(folder, name, program, server__depth=2) as started:
        before = memory(started)
        stop, context = threading.Event(), multiprocessing.get_context("spawn")
        queue = context.Queue()
        where = started.public, started.at("server"), started.at("dealer"), folder
        rest = inferences // CLIENTS, x[:64], expected, bound, queue
        clients = [context.Process(target=ask, args=(*where, i, *rest)) for i in range(CLIENTS)]
        start = time.monotonic()
        for client in clients:
            client.start()
        unread = context.Queue()
        victim = context.Process(target=ask, args=(*where, CLIENTS, 10**6, *rest[1:4], unread))
        trouble = threading.Thread(target=make_trouble, args=(started, folder, victim, stop))
        if broken:
            trouble.start()
        ended, answers = 0, []
        while ended < CLIENTS:
            found = queue.get(timeout=300)
            answers += found or []
            ended += not found
        seconds = time.monotonic() - start
        stop.set()
        if broken:
            trouble.join()
        settle(started)
        after = memory(started)
        ledgers = check(started, folder)
    times = sorted(1e3 * t for outcome, t in answers if outcome == "right")
    return {
        "outcomes": dict(Counter(outcome for outcome, _ in answers)), "seconds": seconds,
        "p50_ms": statistics.median(times), "p99_ms": times[int(0.99 * len(times))],
        "longest_s": max(t for _, t in answers), "memory_mb": {"before": before, "after": after}, **ledgers,
    }  # fmt: skip


def ask(public, server, dealer, folder, index, count, x, expected, bound, queue) -> None:
    """One client: so many answers, and then an empty report."""
    name = f"client-{index}"
    tls_of = (folder / "certificates" / f"{name}.pem", folder / "certificates" / "ca.pem")
    done, found, client = 0, [], None
    while done < count:
        i, start = (index + CLIENTS * done) % len(x), time.monotonic()
        try:
            if client is None:
                client = ar.connect(public, server=server, dealer=dealer, tls=tls_of, timeout=PATIENCE, depth=2,
                                    state=folder / name, cache=folder / "cache")  # fmt: skip
            output = client.run(x[i : i + 1]).output
            wrong = float((output - expected[i : i + 1]).abs().max()) > bound
            found.append(("wrong" if wrong else "right", time.monotonic() - start))
            done += 1
        except Refused as error:
            found.append((f"refused: {error}", time.monotonic() - start))
            time.sleep(error.retry_after)
        except PartyError as error:
            found.append((f"error: {error}", time.monotonic() - start))
            time.sleep(0.2)
        if len(found) >= 20:
            queue.put(found)
            found = []
    queue.put(found) if found else None
    if client is not None:
        client.close()
    queue.put([])


def make_trouble(started: Provider, folder: Path, victim: BaseProcess, stop: threading.Event) -> None:
    """Strangers all the time; a client is killed; dealer and server are killed and started again."""
    victim.start()
    time.sleep(12)  # the clients are processes that import torch first
    silent = [socket.create_connection(("127.0.0.1", started.ports[name])) for name in started.ports for _ in range(10)]
    strangers = threading.Thread(target=be_strange, args=(started, folder, stop))
    strangers.start()
    slow = slow_reader(started, folder)
    for name in ("dealer", "server"):
        time.sleep(1.5)
        started.processes[name].kill()
        started.start(name)
    victim.kill()
    victim.join()
    strangers.join()
    slow.close()
    for each in silent:
        each.close()


def be_strange(started: Provider, folder: Path, stop: threading.Event) -> None:
    """Garbage, a wrong certificate, an old version, again and again."""
    while not stop.wait(0.3):
        for name, port in started.ports.items():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as link:
                link.sendall(b"\x16\x03\x01" + bytes(400))
            identity = tls.Identity(folder / "others" / "client-0.pem", folder / "certificates" / "ca.pem")
            with contextlib.suppress(OSError, PartyError):
                tls.connect(("127.0.0.1", port), identity, name, 2.0).close()
            identity = tls.Identity(folder / "certificates" / "client-0.pem", folder / "certificates" / "ca.pem")
            with contextlib.suppress(OSError, PartyError):
                connection = tls.connect(("127.0.0.1", port), identity, name, 2.0)
                link = StreamChannel(connection, "stranger", name, timeout=2.0)
                link.send_letter(service=0, plan=0, program="", wants="session")
                link.receive_letter()


def slow_reader(started: Provider, folder: Path) -> StreamChannel:
    """A client that opens a session, and then neither reads nor says anything."""
    from autorep_fx.secure.files import load_published
    from autorep_fx.service.greeting import ask_for, name_of_program

    identity = tls.Identity(folder / "certificates" / "client-1.pem", folder / "certificates" / "ca.pem")
    connection = tls.connect(("127.0.0.1", started.ports["server"]), identity, "server", 5.0)
    link = StreamChannel(connection, "client", "server", timeout=5.0)
    ask_for(link, "session", name_of_program(load_published(started.public).plan))
    return link


def memory(started: Provider) -> dict[str, float]:
    """Megabytes that each process holds now."""
    found = {}
    for name, process in started.processes.items():
        status = Path(f"/proc/{process.process.pid}/status").read_text()
        found[name] = int(status.split("VmRSS:")[1].split()[0]) / 1e3
    return found


def settle(started: Provider) -> None:
    """Until no session is open any more."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if all(all_ended(started.ledger(name)) for name in started.ports):
            return
        time.sleep(0.2)


def check(started: Provider, folder: Path) -> dict:
    """What the ledgers say: how many numbers each party used, and whether any was used that another does not know."""
    server, dealer = ({line[:2] for line in started.ledger(name) if line[3] == "done"} for name in ("server", "dealer"))
    dealt = {line[:2] for line in started.ledger("dealer")}
    clients: Counter = Counter()
    for path in folder.glob("client-*/client.sqlite"):
        clients.update(line[:2] for line in Ledger(path, "the benchmark").lines() if line[3] == "done")
    known = {line[:2] for line in started.ledger("server")}
    mine = {number for number in clients if number in known}
    return {"used": {"clients": len(mine), "server": len(server), "dealer": len(dealer)},
            "used_twice": sum(n > 1 for n in clients.values()),
            "unknown_to_the_dealer": len(server - dealt)}  # fmt: skip


if __name__ == "__main__":
    main()
