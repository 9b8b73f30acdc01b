"""The commands as people run them: the scripts of examples/deployment, settings, errors, exit codes."""

import itertools
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from services import Process, free_port, until

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.errors import FormatError
from autorep_fx.service.ledger import Ledger
from autorep_fx.service.locks import hold_place, let_go
from autorep_fx.service.published import Pictures, seed_of
from autorep_fx.service.settings import Deal, Serve, read

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "examples" / "deployment"


def test_three_owners_by_the_scripts(tmp_path, monkeypatch):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                   "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["digits.py", str(tmp_path / "files")])
    runpy.run_path(str(SCRIPTS / "digits.py"))
    assert main(["certificates", "--out", str(tmp_path / "certificates"), "server", "dealer", "alice"]) == 0
    server, dealer = (f"127.0.0.1:{free_port()}" for _ in range(2))
    environment |= {
        "FILES": str(tmp_path / "files"), "PUBLIC": str(tmp_path / "public"), "SERVER": server, "DEALER": dealer,
        "CERTIFICATES": str(tmp_path / "certificates"),
        **{f"HOME_OF_{who}": str(tmp_path / who.lower()) for who in ("SERVER", "DEALER", "CLIENT")},
    }  # fmt: skip
    processes = []

    def start(script, *arguments, **more):
        processes.append(subprocess.Popen([SCRIPTS / script, *arguments], env=environment | more, text=True,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE))  # fmt: skip
        return processes[-1]

    try:
        provider = start("provider.sh", LISTEN=server)
        published = [tmp_path / "public" / name for name in ("public.json", "input.json")]
        until(lambda: all(path.exists() for path in published) or provider.poll() is not None, 240)
        services = [provider, start("dealer.sh", LISTEN=dealer)]
        for service in services:
            said = list(itertools.takewhile(lambda line: "listening" not in line, service.stderr))
            assert service.poll() is None, said
        pictures = sorted((tmp_path / "files").glob("digit-*.png"))
        asked, nobody = start("client.sh", "--json", *pictures), start("client.sh", pictures[3], NAME="nobody")
        output, error = asked.communicate(timeout=120)
        assert asked.returncode == 0, error
        answers = [json.loads(line) for line in output.splitlines()]
        network = ar.load(ar.models.resnet_cifar(8, 10, 1), tmp_path / "files" / "weights.safetensors").eval()
        reader = Pictures.load(tmp_path / "public")
        for path, answer in zip(pictures, answers, strict=True):
            with torch.no_grad():
                expected = network(torch.from_numpy(reader.read(path, (1, 8, 8)))[None])
            assert np.abs(np.array(answer["output"]) - expected.numpy()).max() < 0.2
            assert answer["class"] == [f"a {int(expected.argmax())}"] and answer["rounds"] > 0
        assert sum(answer["class"] == [f"a {i}"] for i, answer in enumerate(answers)) >= 8, "it has learned something"
        error = nobody.communicate(timeout=120)[1]
        assert nobody.returncode == 2 and "nobody.pem cannot be used as a certificate" in error
        for service in services:
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
    finally:
        for process in processes:
            process.kill()
    assert not [*(tmp_path / "public").glob("server-*")], "no weights are published"


def test_settings_come_from_options_environment_and_a_file(tmp_path, monkeypatch):
    config = tmp_path / "provider.toml"
    config.write_text("[serve]\nprogram = 'there'\nlisten = '127.0.0.1:1'\ndealer = 'b:2'\ndepth = 7\nrate = 5\n")
    monkeypatch.setenv("AUTOREP_FX_DEPTH", "8")
    monkeypatch.setenv("AUTOREP_FX_RATE", "6")
    found = read(Serve, {"depth": 9, "rate": None}, config)
    assert (found.depth, found.rate, found.listen) == (9, 6.0, "127.0.0.1:1")
    with pytest.raises(ValueError, match="listen: Field required .*AUTOREP_FX_LISTEN"):
        read(Deal, {"program": "there"}, config)
    config.write_text("[deal]\nprogram = 'there'\nlisten = '127.0.0.1:1'\nlisten_to = 3\n")
    with pytest.raises(ValueError, match="listen_to: "):
        read(Deal, {}, config)
    config.write_text("[deal")
    with pytest.raises(FormatError, match="provider.toml is not TOML"):
        read(Deal, {}, config)


def test_mistakes_of_publish_certificates_and_ask(published, tmp_path, capsys):
    folder = published[0]
    np.save(tmp_path / "x.npy", published[2][:2].numpy())
    (tmp_path / "text.png").write_text("no picture")
    there = ["--server", "127.0.0.1:1", "--dealer", "127.0.0.1:1"]
    for arguments, message in (
        (["publish", str(tmp_path), "--out", str(tmp_path / "public")], "no program at"),
        (["publish", str(folder / "program"), "--out", str(folder / "program")], "is to be public"),
        (["certificates", "--out", str(folder / "certificates"), "alice"], "alice.pem is there already"),
        (["certificates", "--out", str(tmp_path), "a/b"], "'a/b' is no name of a certificate"),
        (["ask", "--program", str(folder / "public"), *there, str(tmp_path / "none.npy")], "no such input"),
        (["ask", "--program", str(folder / "public"), *there, str(tmp_path / "text.png")], "text.png is no picture"),
        (["ask", "--program", str(folder / "public"), *there, str(tmp_path / "x.npy")], "cannot be reached"),
    ):
        assert main(arguments) == 2, arguments
        assert message in capsys.readouterr().err, message


def test_other_weights_have_another_pad(published, tmp_path):
    plan, numbers = ar.SecureProgram.load(published[0] / "program").native
    seed = seed_of(plan, numbers, tmp_path)
    assert seed_of(plan, numbers, tmp_path) == seed and len(seed) == 16
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    assert seed_of(plan, numbers, tmp_path) == seed and file.stat().st_mode & 0o777 == 0o600
    name = next(name for name, own in numbers.items() if own.weight is not None)
    numbers[name].weight.flat[0] += 1
    assert seed_of(plan, numbers, tmp_path) != seed
    file.write_bytes(b"short")
    numbers[name].weight.flat[0] -= 1
    with pytest.raises(FormatError, match="a seed has 16 bytes"):
        seed_of(plan, numbers, tmp_path)


def test_pictures(tmp_path):
    from PIL import Image

    Image.fromarray((np.arange(300) % 256).astype(np.uint8).reshape(10, 30)).save(tmp_path / "wide.png")
    reader = Pictures(8, [0.5], [0.25], ["cat"])
    reader.save(tmp_path)
    assert Pictures.load(tmp_path) == reader and Pictures.load(tmp_path / "none").labels == []
    x = reader.read(tmp_path / "wide.png", (3, 8, 8))
    assert x.shape == (3, 8, 8) and x.dtype == np.float32 and np.array_equal(x[0], x[1]) and np.abs(x).max() <= 2
    with pytest.raises(ValueError, match="a picture is no input of shape"):
        reader.read(tmp_path / "wide.png", (16,))
    Image.fromarray(np.zeros((1, 3000), np.uint8)).save(tmp_path / "narrow.png")
    with pytest.raises(ValueError, match="narrow.png would be scaled to 12288000x4096, and 67108864 pixels are"):
        Pictures(4096, [0.0], [1.0], []).read(tmp_path / "narrow.png", (3, 8, 8))
    with pytest.raises(ValueError, match=r"input.json has means of other channels than an input of shape \(1, 8, 8\)"):
        Pictures(8, [0.0] * 3, [1.0], []).read(tmp_path / "wide.png", (1, 8, 8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "wide.png").read_bytes()[:50])
    with pytest.raises(ValueError, match="cut.png is no picture that can be read"):
        reader.read(tmp_path / "cut.png", (3, 8, 8))


GOOD = {"size": 8, "mean": [0.5], "std": [0.25], "labels": ["a"]}


@pytest.mark.parametrize("said, message", [
    ('{"size": 8}', "lacks"),
    ('{"size":' + "[" * 5000 + "1" + "]" * 5000 + "}", "input.json is damaged"),
    ({"size": 2**28}, "'size' of the description of pictures must be an integer from 1 to 8192"),
    ({"size": 10**3000}, "'size' of"),
    ({"size": 8.5}, "'size' of"),
    ('{"size": 1e999, "mean": [0], "std": [1], "labels": []}', "'size' of"),
    ('{"size": 8, "mean": [NaN], "std": [1], "labels": []}', "NaN is no number"),
    ({"mean": [10**3000]}, "'mean' of the description of pictures must be 1 or 3 numbers from -1e\\+06 to 1e\\+06"),
    ({"mean": [1.0, 2.0]}, "'mean' of"),
    ({"mean": 0.5}, "'mean' of"),
    ({"std": [0]}, "'std' of the description of pictures must be 1 or 3 numbers from 1e-06 to 1e\\+06"),
    ({"std": [-1.0]}, "'std' of"),
    ({"labels": ["a\x1b[2Jb"]}, "'labels' of the description of pictures must be up to 65536 texts of a line each"),
    ({"labels": [1]}, "'labels' of"),
    ({"more": 1}, "unknown attribute 'more'"),
])  # fmt: skip
def test_a_damaged_description_of_pictures_is_named(tmp_path, said, message):
    (tmp_path / "input.json").write_text(said if isinstance(said, str) else json.dumps({**GOOD, **said}))
    with pytest.raises(FormatError, match=message) as error:
        Pictures.load(tmp_path)
    assert str(tmp_path / "input.json") in str(error.value)
    (tmp_path / "input.json").write_text(json.dumps({**GOOD, "mean": [0, 1, 2.5], "labels": ["Grüße", "猫\t2"]}))
    assert Pictures.load(tmp_path).mean == [0, 1, 2.5]


def test_a_description_that_cannot_be_is_not_made_either():
    with pytest.raises(FormatError, match="'std' of the description of pictures must be"):
        Pictures(8, [0.0], [0.0], [])


def test_publishing_again_leaves_nothing_of_what_was_there(published, tmp_path):
    from autorep_fx.service.published import publish

    Pictures(8, [0.0], [0.5], []).save(tmp_path)
    publish(published[0] / "program", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["public.json"]


def test_ask_names_a_bad_input_and_answers_the_others(published, provider, tmp_path, capfd):
    from PIL import Image

    x = published[2][:2].numpy() / 10
    np.save(tmp_path / "one.npy", x[0])
    np.save(tmp_path / "two.npy", x)
    np.save(tmp_path / "large.npy", x * 1e6)
    np.save(tmp_path / "shape.npy", x[:, :, 1:])
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "black.png")
    names = ["none.npy", "one.npy", "text.png", "shape.npy", "large.npy", "black.png", "two.npy"]
    service, certificates = provider(), published[0] / "certificates"
    arguments = ["ask", "--program", published[0] / "public", "--server", service.at("server"), "--dealer",
                 service.at("dealer"), "--cert", certificates / "alice.pem", "--ca", certificates / "ca.pem", "--json",
                 *(tmp_path / name for name in names)]  # fmt: skip
    assert main([*map(str, arguments)]) == 2
    output, errors = capfd.readouterr()
    told = {Path(line["input"]).name: line for line in map(json.loads, output.splitlines())}
    assert [*told] == names and "4 of 7 inputs were not answered" in errors
    for name, array in (("one.npy", x[:1]), ("two.npy", x)):
        expected = published[1](torch.from_numpy(array)).detach().numpy()
        assert np.abs(np.array(told[name]["output"]) - expected).max() < 2e-3
    assert "output" in told["black.png"]
    for name, why in (("none.npy", "no such input"), ("text.png", "no picture"), ("shape.npy", "has shape"),
                      ("large.npy", "range")):  # fmt: skip
        assert why in told[name]["error"] and f"{tmp_path / name}" in told[name]["error"] and name in errors


class Balancer:
    """Every connection to the next one in turn."""

    def __init__(self, *addresses):
        self.turns = itertools.cycle(addresses)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            one, _ = self.listener.accept()
            host, port = next(self.turns).split(":")
            other = socket.create_connection((host, int(port)))
            for source, sink in ((one, other), (other, one)):
                threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    def copy(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_who_starts_a_service_a_second_time_is_told_and_breaks_nothing(published, provider, capsys):
    started, x = provider(server__metrics=f"127.0.0.1:{free_port()}"), published[2]
    with started.connect(depth=3) as client:
        client.wait()
        until(lambda: len(started.ledger("server")) == 3)
        for name in ("server", "dealer"):
            arguments = started.arguments(name)
            assert main(arguments) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and f"listen: cannot listen on {started.at(name)}: another process has" in said
        (metrics,) = started.processes["server"].said("metrics")
        where = ["--listen", "127.0.0.1:0", "--metrics", metrics["at"]]
        assert main(["deal", "--program", str(published[0] / "public"), *where]) == 2
        assert f"metrics: cannot listen on {metrics['at']}: another process has it" in capsys.readouterr().err
        assert [state for *_, state in started.ledger("server")] == ["prepared"] * 3
        session = client._session.name
        assert (client.run(x[:1]).output - published[1](x[:1])).abs().max() < 2e-3 and client._session.name == session


def test_two_processes_with_a_port_each_of_its_own_are_not_the_same_owner_of_a_state(published, tmp_path, capsys):
    """As of containers that share a volume: both may listen, and one of them would burn what the other has prepared."""
    at = f"127.0.0.1:{free_port()}"
    place = hold_place(tmp_path, f"dealer {at}")
    arguments = ["deal", "--program", published[0] / "public", "--listen", at, "--state", tmp_path]
    assert main([*map(str, arguments)]) == 2
    assert f"state: process {os.getpid()} is 'dealer {at}'" in capsys.readouterr().err
    assert not (tmp_path / "dealer.sqlite").exists()
    let_go(place)


def test_replicas_behind_a_balancer_share_the_ledger(published, tmp_path):
    public, program, certificates = (published[0] / name for name in ("public", "program", "certificates"))

    def own(name):
        return ["--cert", certificates / f"{name}.pem", "--ca", certificates / "ca.pem"]

    dealer = Process("deal", "--program", public, "--listen", "127.0.0.1:0", *own("dealer"))
    servers = []
    for _ in range(2):
        at = f"127.0.0.1:{free_port()}"
        servers.append(Process("serve", "--program", program, "--listen", at, "--advertise", at, "--dealer",
                               dealer.address, "--state", tmp_path / "server", *own("server")))  # fmt: skip
    try:
        balancer = Balancer(*(server.address for server in servers))
        tls = (certificates / "alice.pem", certificates / "ca.pem")
        clients = [ar.connect(public, server=balancer.address, dealer=dealer.address, tls=tls, cache=tmp_path / "cache")
                   for _ in range(4)]  # fmt: skip
        for i, client in enumerate(clients):
            x = published[2][i : i + 1]
            assert (client.run(x).output - published[1](x)).abs().max() < 2e-3
        assert len([*(tmp_path / "cache").iterdir()]) == 1, "both publish the same E"
        assert [len(server.said("session")) for server in servers] == [2, 2]
        lines = Ledger(tmp_path / "server" / "server.sqlite", "a test").lines()
        assert [state for *_, state in lines].count("done") == 4
        for client in clients:
            client.close()
    finally:
        for process in (dealer, *servers):
            process.kill()
