"""Processes and sessions: what goes wrong ends the run, in time, with a name; and nobody gets another one's answer."""

import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import said_in_a_fork
from native_runs import compiled
from networks import images, replace
from torch import nn

from autorep_fx import Network
from autorep_fx.errors import PartyError
from autorep_fx.secure.host.admission import largest_batch
from autorep_fx.secure.host.process import Job
from autorep_fx.secure.host.supervisor import Supervisor
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.link import door
from autorep_fx.secure.link.message import REQUEST
from autorep_fx.secure.plan.simulate import expected
from autorep_fx.secure.program.plaintext import execute


def test_greetings_in_any_order():
    """Whoever the dealer's listener lets in first, nobody waits in a circle."""
    program, x = small()
    plan, numbers = program.native
    for order in (("client", "server"), ("server", "client")):
        members = connect(plan, numbers, timeout=3)
        members.dealer.links = {name: members.dealer.links[name] for name in order}
        members.server.links = {name: members.server.links[name] for name in ("dealer", "client")}
        assert len(run(plan, numbers, x.double().numpy(), members=members)) == 1


def small(fraction=0.5):
    x = images(2)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    examples = images(64) * torch.linspace(0.2, 2, 64).view(-1, 1, 1, 1)
    return compiled(model, examples, lambda gm: replace(gm, fraction), input_range=(-10.0, 10.0)), x


@pytest.mark.parametrize("who", ["client", "server", "dealer"])
@pytest.mark.parametrize("when", ["offline", "online"])
def test_a_party_that_fails_ends_the_run(who, when, monkeypatch):
    program, x = small()
    plan, numbers = program.native
    members = connect(plan, numbers, timeout=5)
    member = members[who]
    if when == "online" and who == "dealer":
        pytest.skip("the dealer is offline only")

    def fail(*_):
        raise RuntimeError("broken on purpose")

    name = "infer" if when == "online" else "serve" if who == "dealer" else "_shares"
    monkeypatch.setattr(member.party if when == "online" else member.offline, name, fail)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="broken on purpose"):
        run(plan, numbers, x.double().numpy(), members=members)
    assert time.monotonic() - start < 4, "the others saw it at once"


def test_processes_answer_and_say_what_it_cost():
    program, x = small()
    with program.session(comparison="fss", timeout=60) as session:
        first, second = session.run(x), session.run(x[:1])
    plan = program.plan(comparison="fss")
    model = expected(plan, program.native[1], x.double().numpy())
    assert first.output.dtype == x.dtype
    for result, n in ((first, 2), (second, 1)):
        assert np.all(np.abs(result.output.double().numpy() - model.output[:n]) <= model.bound[:n] + 1e-6)
        cost = program.cost("lan", comparison="fss", batch=n)
        assert result.stats.online.rounds == cost.rounds == 6
        assert result.stats.online.bytes_sent == cost.online
        assert result.stats.offline.bytes_sent == {"client": 0, "server": 0, "dealer": 0} | cost.offline
        assert result.stats.setup.bytes_sent == cost.setup
        assert 0 < result.stats.online.seconds < 5 and 0 < result.stats.offline.seconds < 10


def test_run_is_one_call_on_a_shaped_network():
    program, x = small()
    result = program.run(x, backend="native", comparison="gmw", network=Network(rtt_ms=20, mbps=1000), timeout=60)
    assert result.output.shape == (2, 3)
    assert result.stats.online.seconds >= result.stats.online.rounds * 0.010


@pytest.mark.parametrize("role, how, message", [
    ("server", signal.SIGSEGV, r"server failed: died with signal 11 \(SIGSEGV\)"),
    ("client", signal.SIGKILL, r"client failed: died with signal 9 \(SIGKILL\)"),
    ("dealer", signal.SIGSTOP, "no word from: dealer"),
])  # fmt: skip
def test_a_process_that_dies_or_hangs(role, how, message):
    program, x = small()
    session = program.session(comparison="fss", timeout=2)
    try:
        processes = [p.pid for p in session._session.processes.values()]
        os.kill(session._session.processes[role].pid, how)
        start = time.monotonic()
        with pytest.raises(PartyError, match=message):
            session.run(x)
        assert time.monotonic() - start < 9
    finally:
        session.close()
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(PartyError, match="this session is over"):
        session.run(x)


CRASH = """
import os, signal, time
import torch
import autorep_fx as ar
from autorep_fx.errors import PartyError
x = torch.rand(2, 4)
program = ar.compile(ar.transform(torch.nn.Sequential(torch.nn.Linear(4, 3)), example_inputs=x), x, max_error=1.0)
session = program.session()
pid, waits = session._session.processes["server"].pid, 0
while waits < 20:  # until it waits for the client, and for some time
    with open(f"/proc/{pid}/stat") as file:
        waits = waits + 1 if file.read().rpartition(")")[2].split()[0] == "S" else 0
    time.sleep(0.01)
os.kill(pid, signal.SIGSEGV)
try:
    session.run(x)
except PartyError as error:
    print(error)
"""


def test_a_party_that_dies_of_a_signal_says_where():
    """A process of its own, whose standard error its parties have."""
    got = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=120)
    assert "server failed: died with signal 11 (SIGSEGV)" in got.stdout, got.stderr
    assert "Segmentation fault" in got.stderr and "in next_batch" in got.stderr


@pytest.mark.parametrize("options, message", [
    ({"timeout": 0}, "timeout must be above 0"), ({"threads": 0}, "threads at least 1"),
    ({"comparison": "ot"}, "comparison must be one of"), ({"network": "moon"}, "network must be"),
])  # fmt: skip
def test_bad_options(options, message):
    program, x = small()
    with pytest.raises(ValueError, match=message):
        program.run(x, backend="native", **options)


def test_the_client_process_gets_no_private_number():
    """What is pickled for client and dealer holds the plan alone."""
    program, _ = small()
    plan, numbers = program.native
    sent = pickle.dumps(plan)
    for found in numbers.values():
        for array in (found.weight, found.constant):
            if array is not None and array.size > 1 and np.ptp(array):
                assert array.tobytes() not in sent


class Late(Exception):
    """A request's time limit."""


def two(program, n=2):
    """Two callers' inputs and answers, far from each other."""
    hers = images(n)
    return [(x, execute(program, x)) for x in (hers, -2 * hers)]


def own(result, answer):
    assert (result.output - answer).abs().max() < 0.05


@pytest.mark.parametrize("when", range(6))
def test_an_interrupted_run_leaves_nothing_to_the_next_caller(when):
    program, _ = small()
    (hers, _), (his, answer) = two(program)
    with program.session(comparison="fss", timeout=60) as session:
        parties = session._session._parties
        bell = parties._bell

        class Interrupted:
            """A signal comes while so many reports are there."""

            reports = 0

            def get(self, timeout):
                if self.reports == when:
                    raise Late
                self.reports += 1
                return bell.get(timeout=timeout)

        parties._bell = Interrupted()
        try:  # how often the bell is waited for depends on how the reports come in: once at least, and about five times
            session.run(hers)
            assert when > 0
        except Late:
            pass
        parties._bell = bell
        for _ in range(2):
            own(session.run(his), answer)


@pytest.mark.parametrize("sent", [False, True])
def test_an_interruption_while_asking_ends_the_session(sent, monkeypatch):
    program, x = small()
    with program.session(comparison="fss", timeout=60) as session:
        parties = session._session._parties
        ask = parties.ask

        def interrupted(*args):
            if sent:
                ask(*args)
            raise Late

        monkeypatch.setattr(parties, "ask", interrupted)
        with pytest.raises(Late):
            session.run(x)
        monkeypatch.undo()
        with pytest.raises(PartyError, match="this session is over; start another"):
            session.run(x)


def test_interruptions_at_any_time():
    """A timer, wherever it hits: the next caller gets its own answer or an error."""
    program, _ = small()
    callers, previous = two(program, 40), signal.getsignal(signal.SIGALRM)

    def late(*_):
        raise Late

    session = program.session(comparison="fss", timeout=60)
    signal.signal(signal.SIGALRM, late)
    try:
        for i in range(40):
            (hers, _), (his, answer) = callers if i % 2 else callers[::-1]
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 * 1.157**i)  # up to 30 ms: from asking to the last report
                session.run(hers)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Late:
                pass
            try:
                own(session.run(his), answer)
            except PartyError as error:
                assert "this session is over" in str(error)
                session.close()
                session = program.session(comparison="fss", timeout=60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        session.close()


def test_ctrl_c_reaches_the_launcher_only():
    """A terminal sends it to every process; the parties go on, so that the session can."""
    program, x = small()
    with program.session(comparison="fss", timeout=60) as session:
        for process in session._session.processes.values():
            os.kill(process.pid, signal.SIGINT)
        session.run(x)


def test_closing_after_an_interruption_waits_for_nobody():
    program, x = small()
    session = program.session(comparison="fss", timeout=600)
    os.kill(session._session.processes["client"].pid, signal.SIGSTOP)
    parties = session._session._parties
    bell, parties._bell = parties._bell, None  # whoever waits for it gets an error
    with pytest.raises(AttributeError):
        session.run(x)
    parties._bell = bell
    session.close()  # within the test's patience, not within 600 s
    with pytest.raises(PartyError, match="this session is over"):
        session.run(x)


def test_threads_take_turns():
    program, _ = small()
    wrong, callers = [], two(program)
    with program.session(comparison="fss", timeout=60) as session:

        def ask(x, answer):
            try:
                for _ in range(10):
                    own(session.run(x), answer)
            except BaseException as error:  # noqa: BLE001  (raised in the test's thread)
                wrong.append(error)

        threads = [threading.Thread(target=ask, args=caller) for caller in callers * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[0]


def test_closing_waits_for_another_thread_s_run():
    program, _ = small()
    ((x, answer), _), found = two(program), []
    session = program.session(comparison="fss", timeout=60)
    busy, ask = threading.Event(), session._session._parties.ask

    def asked(*args):
        ask(*args)
        busy.set()

    session._session._parties.ask = asked
    thread = threading.Thread(target=lambda: found.append(session.run(x)))
    thread.start()
    busy.wait()
    session.close()
    thread.join()
    own(found[0], answer)


def test_a_fork_may_not_use_its_parent_s_session(monkeypatch):
    program, x = small()
    with program.session(comparison="fss", timeout=60) as session:
        with monkeypatch.context() as fork:
            fork.setattr(os, "getpid", lambda: -1)
            with pytest.raises(PartyError, match="belongs to the process that started it"):
                session.run(x)
            session.close()
        with session._session._lock:  # of a thread that a fork does not have
            ran, asked, closed = said_in_a_fork(
                lambda: session.run(x), lambda: session._session._parties.ask("client", None), session.close
            )
        assert "this session belongs to the process that started it" in ran and "this session" in asked
        assert closed == ""
        session.run(x)


def test_a_stuck_client_and_a_large_input():
    """It does not read what it is sent; the run ends all the same."""
    program, _ = small()
    session = program.session(comparison="fss", timeout=1)
    os.kill(session._session.processes["client"].pid, signal.SIGSTOP)
    with pytest.raises(PartyError, match="no answer after .* from: .*client"):
        session.run(images(2000))
    session.close()


def test_strangers_at_a_session_s_doors(monkeypatch):
    program, x = small()
    listen, strangers = door.listen, []

    def listened():
        listener = listen()
        for said in (b"", bytes(16) + b"client\0\0", b"GET / HTTP/1.1\r\n\r\n" * 10):
            strangers.append(socket.create_connection(listener.getsockname()))
            strangers[-1].sendall(said)
        return listener

    monkeypatch.setattr(door, "listen", listened)
    with program.session(comparison="fss", timeout=60) as session:
        session.run(x)
    assert len(strangers) == 6


def test_batches_have_a_limit():
    program, x = small()
    plan, numbers = program.native
    assert 1000 < largest_batch(plan) < 2**40
    with program.session(comparison="fss", timeout=60, max_batch=1) as session:
        with pytest.raises(ValueError, match=r"x: 2 samples, and a run takes 1 to 1 \(max_batch\); ask in parts"):
            session.run(x)
        session.run(x[:1])
    with pytest.raises(ValueError, match="max_batch must be at least 1"):
        program.session(max_batch=0)
    for asked in (-1, largest_batch(plan) + 1, 2**63 - 1):
        members = connect(plan, numbers, timeout=5)
        for role in ("server", "dealer"):
            members.client.links[role].send(REQUEST, np.array([asked], np.int64))
            with pytest.raises(PartyError, match=f"{role}, at request: the client asks for {asked} samples"):
                members[role].next_batch()


def test_depths_have_a_limit():
    program, _ = small()
    plan, numbers = program.native
    members = connect(plan, numbers, timeout=5)
    members.client.clock.depth = 2**31
    members.client.links["server"].send(REQUEST, np.array([1], np.int64))
    with pytest.raises(PartyError, match=f"of depth {2**31 + 1}, and there are at most {program.cost().rounds + 8}"):
        members["server"].next_batch()
    assert members.server.clock.depth == 0


def test_a_party_holds_its_own_and_nothing_of_its_launcher_s():
    """Launchers have torch; a party is NumPy and the extension."""
    program, x = small()
    with program.session(comparison="fss", timeout=60) as session:
        memory = session.run(x).stats.memory
        for role, process in session._session.processes.items():
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert memory[role] <= 1024 * int(status.split("VmHWM:")[1].split()[0]) < 100e6
            mapped = Path(f"/proc/{process.pid}/maps").read_text()
            assert "numpy" in mapped and "libtorch" not in mapped
    assert {*memory} == {"client", "server", "dealer"} and min(memory.values()) > 10e6


def test_a_job_is_plain_data_and_numpy():
    """What a party is sent names no class of torch, which it would have to import, and none of the user's."""
    program, x = small()
    found = set()

    class Names(pickle.Unpickler):
        def find_class(self, module, name):
            found.add(module)
            return super().find_class(module, name)

    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Supervisor, "ask", lambda self, name, message, ask=Supervisor.ask: (
            asked.append(message), ask(self, name, message)))  # fmt: skip
        program.run(x, network="lan", timeout=60)
    assert sum(isinstance(each, Job) for each in asked) == 3
    for each in asked:
        Names(io.BytesIO(pickle.dumps(each))).load()
    assert "autorep_fx.secure.plan.server_numbers" in found and "autorep_fx.secure.link.network" in found
    assert {name.partition(".")[0] for name in found} <= {"autorep_fx", "numpy", "builtins"}


def test_no_descriptor_is_left_of_a_session():
    program, x = small()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        session = program.session(comparison="fss", timeout=60)
        session.run(x)
        session.close()
    end = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before:  # those of threads that are about to end
        assert time.monotonic() < end
        time.sleep(0.01)
