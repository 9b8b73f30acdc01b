"""A client that says other things than the protocol does, in a checked plan: helpers of the tests here."""

from __future__ import annotations

import numpy as np

from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.link.message import CHECK

U64 = np.uint64


class DeviatingClient:
    """Changes what it sends to the server.

    Args:
        change: gets the kind of a message ("input", "h", "answer", "opening", "check"), its step (None of a check) and
            its array, and returns what is sent: an array, or a list of arrays, each as a message of its own.
    """

    def __init__(self, plan, numbers, change, timeout=20):
        self.plan, self.numbers = plan, numbers
        self.members = connect(plan, numbers, timeout=timeout)
        server = self.members.client.links["server"]
        send = server.send
        server.timeout = max(timeout, 20)  # so that it is the server that first has enough of a silence

        def changed(index, *arrays, kind=None):
            step = plan.steps[index] if index < len(plan.steps) else None
            if step is None and index != CHECK:
                return send(index, *arrays)
            kind = kind or ("check" if step is None else {"input": "input", "map": "h"}.get(step.op, "answer"))
            found = change(kind, step, arrays[0])
            for array in found if isinstance(found, list) else [found]:
                send(index, np.ascontiguousarray(array))

        def exchanged(index, out, into):
            changed(index, out, kind="opening")
            server.receive(index, into)

        server.send, server.exchange = changed, exchanged

    def ask(self, *x):
        return [each.output for each in run(self.plan, self.numbers, *x, members=self.members)]


def messages(plan):
    """All that a client says but its input: (kind, name of the step)."""
    found = [("h", step.name) for step in plan.steps if step.op == "map"]
    found += [("opening", step.name) for step in plan.steps if "knots" in step.attrs]
    return found + [("answer", step.name) for step in plan.steps if step.answered]


def adds(kind, name, error):
    """A change that adds an error to one message; error: from a shape."""

    def change(found, step, array):
        if (found, step and step.name) != (kind, name):
            return array
        return array + error(array.shape)

    return change


def single(bit, at=0):
    """2**bit in one element."""

    def error(shape):
        e = np.zeros(int(np.prod(shape)), U64)
        e[at % e.size] = U64(1) << U64(bit)
        return e.reshape(shape)

    return error


def spread(bit):
    """Plus and minus 2**bit in all elements, so that they cancel: in all, and in each pair of samples."""

    def error(shape):
        e = np.zeros((shape[0], int(np.prod(shape[1:]))), U64)
        e[0] = np.where(np.arange(e.shape[1]) % 2 == 0, 2**bit, 2**64 - 2**bit)
        e[-1] -= e[0]
        return e.reshape(shape)

    return error
