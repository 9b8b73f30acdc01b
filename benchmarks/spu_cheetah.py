"""A network on SPU's Cheetah, two processes on this machine, one core each; run by a Python that has SPU.

    PYTHON_WITH_SPU benchmarks/spu_cheetah.py NETWORK.npz

no_dealer.py writes the network (its steps as JSON in `steps`, its weights, an input `x` and what it is in plaintext,
`expected`) and reads the line of JSON that this prints: seconds of a run behind a first one, bytes of both parties (of
SPU's own log), memory of the larger, and how far the output is off. The weights are the server's and the input is the
client's. SPU has no offline phase here: what it takes is from the input to the output. Package: spu 0.9.5 in an
environment of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import socket
import sys
import tempfile
import time

import numpy as np

RUNS = 2


def forward(steps, x, weights):
    """The network in JAX; steps as program.steps has them."""
    import jax.numpy as jnp
    from jax import lax

    values = {"x": x}
    for step in steps:
        inputs, op = [values[name] for name in step["inputs"]], step["op"]
        w = [weights[name] for name in step["secrets"]]
        if op == "conv2d":
            out = lax.conv_general_dilated(
                inputs[0], w[0], step["stride"], [(p, p) for p in step["padding"]],
                dimension_numbers=("NCHW", "OIHW", "NCHW"),
            )  # fmt: skip
            out = out + w[1][None, :, None, None]
        elif op == "linear":
            out = inputs[0] @ w[0].T + w[1]
        elif op == "relu":
            out = jnp.maximum(inputs[0], 0)
        elif op == "add":
            out = inputs[0] + inputs[1]
        elif op == "mean":
            out = inputs[0].mean((2, 3))
        else:
            raise ValueError(f"{step['name']}: no {op} here")
        values[step["name"]] = out
    return out


def compiled(spu, data):
    """The executable, its inputs, and how it is run."""
    from spu.utils import frontend

    steps, names = json.loads(str(data["steps"])), json.loads(str(data["names"]))
    config = spu.RuntimeConfig(protocol=spu.ProtocolKind.CHEETAH, field=spu.FieldType.FM64)
    config.experimental_enable_colocated_optimization = True
    config.max_concurrency = 1
    config.enable_pphlo_profile = True  # which says how many bytes went out
    flat = [data["x"].astype(np.float32), *(data[name].astype(np.float32) for name in names)]

    def network(x, *values):
        return forward(steps, x, dict(zip(names, values)))

    executable, _ = frontend.compile(
        frontend.Kind.JAX, network, flat, {}, [f"in{i}" for i in range(len(flat))],
        [spu.Visibility.VIS_SECRET] * len(flat), lambda out: [f"out{i}" for i in range(len(out))],
        static_argnums=(), copts=spu.CompilerOptions(),
    )  # fmt: skip
    return executable, flat, config


def party(rank, ports, path, pipe, log):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1), os.dup2(descriptor, 2)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    import spu

    executable, flat, config = compiled(spu, np.load(path))
    desc = spu.link.Desc()
    desc.recv_timeout_ms = 3_600_000  # of a convolution on a busy machine, too
    for i, port in enumerate(ports):
        desc.add_party(f"party{i}", f"127.0.0.1:{port}")
    runtime = spu.Runtime(spu.link.create_brpc(desc, rank), config)
    seconds = []
    for _ in range(RUNS):
        for i in range(len(flat)):
            runtime.set_var(f"in{i}", pipe.recv())
        start = time.monotonic()
        runtime.run(executable)
        seconds.append(time.monotonic() - start)
        pipe.send((seconds[-1], 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, runtime.get_var("out0")))
    pipe.recv()


def main() -> None:
    import spu

    data = np.load(sys.argv[1])
    _, flat, config = compiled(spu, data)
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    context, io = multiprocessing.get_context("spawn"), spu.Io(2, config)
    with tempfile.TemporaryDirectory() as folder:
        ends, processes, logs = [], [], [os.path.join(folder, f"party{rank}") for rank in range(2)]
        for rank in range(2):
            here, there = context.Pipe()
            processes.append(context.Process(target=party, args=(rank, ports, sys.argv[1], there, logs[rank])))
            processes[-1].start()
            there.close()
            ends.append(here)
        for _ in range(RUNS):
            for i, value in enumerate(flat):  # the input is the client's, rank 1; the weights are the server's
                shares = io.make_shares(value, spu.Visibility.VIS_SECRET, 1 if i == 0 else 0)
                for end, share in zip(ends, shares):
                    end.send(share)
            try:
                seconds, memory, outputs = zip(*(end.recv() for end in ends))
            except EOFError:
                sys.exit("\n".join(open(log, errors="replace").read()[-1500:] for log in logs))
        output = io.reconstruct(list(outputs))
        for end, process in zip(ends, processes):
            end.send(None)
            process.join()
        said = [re.findall(r"total send bytes (\d+)", open(log).read()) for log in logs]
    print(json.dumps({"seconds": max(seconds), "bytes": sum(int(sent[-1]) for sent in said), "memory": max(memory),
                      "error": float(np.abs(output - data["expected"]).max())}))  # fmt: skip


if __name__ == "__main__":
    main()
