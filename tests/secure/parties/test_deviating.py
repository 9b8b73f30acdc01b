"""What a party gains that does not follow the protocol: as docs/security.md says, and no more."""

import dataclasses

import numpy as np
import pytest
import torch
from native_runs import make_plan
from observed import INPUTS, assert_independent, network, programs, views

from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.link.message import HELLO
from autorep_fx.secure.makers.dealt import checked_server
from autorep_fx.secure.parties import check
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.planner.fold_squares import unit_squares


class DeviatingClient:
    """Adds what it likes to its shares: ``added`` (N, ...), ring elements, by the name of an activation or a map."""

    def __init__(self, plan, numbers, added):
        self.members = connect(plan, numbers, timeout=20)
        self.plan, self.numbers, client = plan, numbers, self.members.client
        evaluate, server = client._evaluate, client.links["server"]
        send = server.send

        def deviating(step, *args, **options):
            share = evaluate(step, *args, **options)
            return share + added.get(step.name, share.dtype.type(0))

        def sent(index, *arrays):
            if index < len(plan.steps) and plan.steps[index].op == "map":  # h, offline
                arrays = (arrays[0] + added.get(plan.steps[index].name, arrays[0].dtype.type(0)),)
            send(index, *arrays)

        client._evaluate, server.send = deviating, sent

    def ask(self, x):
        return run(self.plan, self.numbers, x, members=self.members)[0].output


def ring(values):
    return np.rint(values).astype(np.int64).view(np.uint64)


def wide(program):
    """Its plan on wires of 64 bits, where there is the most room for what a client adds."""
    return make_plan(*unit_squares(program, program.reach), InputRange.of_plan(program.base_plan), widths=(64,))


def by_role(plan):
    """The two activations and the two layers behind them, of ``network``."""
    activations = [step for step in plan.steps if step.op == "activation"]
    return *activations, *[step for step in plan.steps if step.op == "map"][1:]


def test_what_a_deviating_client_learns():
    """With one query of a batch: every weight after the last activation, exactly. docs/security.md says so."""
    plan, numbers = wide(network(1, 0))
    _, last, _, linear = by_role(plan)
    n, large = last.size, 44  # bits: a weight has 16, the ring has room for 61, and what is rounded is far below
    raised = np.concatenate([np.zeros((1, n)), 2.0**large * np.eye(n)])
    output = DeviatingClient(plan, numbers, {last.name: ring(raised)}).ask(np.repeat(INPUTS[1], n + 1, axis=0))
    output = np.ldexp(output, plan.output.frac_bits + plan.output.attrs["shift"] - large)
    found = np.rint(output[1:] - output[0]).astype(np.int64).T
    np.testing.assert_array_equal(found, numbers[linear.name].weight.view(np.int64))


def test_a_deviating_client_learns_the_layer_before_too():
    """It lets one unit of the last activation through at a time, and raises one entry of the activation before."""
    program = network(1, 0)
    plan, numbers = wide(program)
    first, last, conv, _ = by_role(plan)
    weight, linear = (program.secrets(program.steps[i])["weight"] for i in (2, -1))
    m, n = last.size, first.size
    through = np.where(np.eye(m, dtype=bool), 3.0, -8.0)[:, None]  # ReLU6: at 3 a unit passes what moves it, at -8 not
    through = np.broadcast_to(through, (m, n + 1, m)).reshape(-1, *conv.shape) * 2.0**conv.frac_bits
    raised = np.tile(np.concatenate([np.zeros((1, n)), np.eye(n)]), (m, 1)) * 2.0**first.frac_bits
    client = DeviatingClient(plan, numbers, {conv.name: ring(through), first.name: ring(raised)})
    output = client.ask(np.repeat(INPUTS[1], m * (n + 1), axis=0)).reshape(m, n + 1, -1)
    moved = output[:, 1:] - output[:, :1]  # of unit i by entry j: linear[:, i] times conv's matrix[i, j]
    known = linear.numpy().T
    found = np.einsum("ijk,ik->ij", moved, known) / (known**2).sum(1, keepdims=True)
    true = torch.nn.functional.conv2d(torch.eye(n, dtype=torch.float64).reshape(n, *first.shape), weight)
    # Both activations are rounded anew in each sample, to 2**-13 and 2**-16: 1e-4 in ``found``. The weights reach 0.2.
    np.testing.assert_allclose(found, true.reshape(n, m).T.numpy(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("comparison, checked", [("fss", False), ("gmw", False), ("fss", True)])
def test_what_a_deviating_server_receives_says_nothing(comparison, checked, monkeypatch):
    """It sends zeros in place of all that the protocol says, challenges, too, and takes whatever it is answered;
    the answers are under masks that it does not choose."""
    for module in (check, checked_server):
        monkeypatch.setattr(module, "need", lambda answer, wanted: None)

    def deviate(members):
        channel = members.server.links["client"]
        send, exchange = channel.send, channel.exchange
        channel.send = lambda step, *arrays: send(step, *(a if step == HELLO else np.zeros_like(a) for a in arrays))
        channel.exchange = lambda step, mine, theirs: exchange(step, np.zeros_like(mine), theirs)

    plan, (numbers, _) = programs(0.5, comparison, **({"widths": (32,)} if checked else {}))
    plan = dataclasses.replace(plan, checked=checked)
    assert_independent(*(views(plan, numbers, x, "server", deviate=deviate) for x in INPUTS))
