"""The fused protocols without processes: both parties' halves run in turns, the correlations from a real dealer."""

import contextlib
import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import Everything, images, replace

import autorep_fx as ar
from autorep_fx import kernels
from autorep_fx.secure.compile import FRAC_BITS, compile

if not kernels.available():
    pytest.skip("the compiled kernels are not built", allow_module_level=True)

from autorep_fx.secure.correlations.stream import Stream
from autorep_fx.secure.crypten import launch
from autorep_fx.secure.crypten.fused import carry
from autorep_fx.secure.crypten.fused.correlations import dealt_layout, masks_layout
from autorep_fx.secure.crypten.fused.dealer import INFERENCE, Dealer
from autorep_fx.secure.crypten.fused.plan import from_text, plan, sign_bits, to_text, turns
from autorep_fx.secure.crypten.fused.protocols import drelu, matmul, multiply, product, relu, square
from autorep_fx.secure.crypten.fused.sources import Source
from autorep_fx.secure.crypten.shares import truncate
from autorep_fx.secure.makers.dealt.blinded_weights import BlindedWeights, pack_blinded
from autorep_fx.secure.parties.weights import Weights
from autorep_fx.secure.plan.plan import Plan, Step
from autorep_fx.secure.plan.server_numbers import Numbers

FRAC = 16
SEEDS = [bytes([i]) * 16 for i in range(3)]


class _Meter:
    def providing(self):
        return contextlib.nullcontext()


def ring(*shape, bits=64, seed=0):
    """Random signed integers of so many bits, as ring elements."""
    words = kernels.prg_words(bytes([200 + seed]) * 16, 9, shape).view(np.int64)
    return (words >> (64 - bits)).view(np.uint64)


def signed(array):
    return array.view(np.int64)


def shared(x, seed=1):
    mask = ring(*x.shape, seed=seed)
    return x - mask, mask


def need(op, *shape, name="step.it", **attrs):
    return Step(name, op, (), shape, FRAC, 64, attrs)


def compare(n, bits):
    return need("compare", n, bits=bits)


def weighted(kind, weight, x, shape, **options):
    return need("map", *shape, kind=kind, weight_shape=weight, x=x, **options)


def source(needs, party, batch=1):
    dealt = None if party else Dealer(needs, batch, SEEDS).deal
    return Source(needs, batch, party, Stream(SEEDS[1 + party], INFERENCE), dealt, _Meter())


def parties(step, value=None, batch=1):
    """Both parties and their parts of one correlation."""
    needs = Plan((step,))
    weights = None, None
    if value is not None:
        bits = 32 if abs(signed(value)).max() < 2**31 else 64
        numbers = {step.name: Numbers(value, bits=bits)}
        blinded = BlindedWeights(needs, numbers, SEEDS[0]).blinded()
        packed = Weights(needs, numbers).packed, pack_blinded(needs, blinded)
        weights = [mine[step.name] for mine in packed]
    return [
        (party, step, {**source(needs, party, batch).take("step")[step.name], "weight": weights[party]})
        for party in (0, 1)
    ]  # fmt: skip


def run(protocol, found, *inputs):
    """(results, what each party sent, rounds)."""
    halves = [protocol(*who, *args) for who, args in zip(found, zip(*inputs))]
    results, incoming, sent, rounds = [None, None], [None, None], ([], []), 0
    while any(result is None for result in results):
        messages = [None, None]
        for party, half in enumerate(halves):
            if results[party] is None:
                try:
                    messages[party] = half.send(incoming[party])
                except StopIteration as done:
                    results[party] = done.value
        incoming = [None, None]
        for party, message in enumerate(messages):
            if message is None:
                continue
            if message.send is not None:
                sent[party].append(message.send.copy())
            if message.receive is not None:
                other = messages[1 - party].send
                assert other.shape == tuple(message.receive)
                incoming[party] = other.copy()
        rounds += any(m is not None for m in messages)
    return results, sent, rounds


EDGES = np.array([0, 1, -1, 2, -2, 2**16, -(2**16), 2**46, -(2**46), 2**48 - 1, -(2**48), 2**47, -(2**47)])


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 130, 1000])
def test_relu_is_exact_within_its_window(n):
    bits = sign_bits(FRAC)
    assert bits == 49
    x = np.concatenate([EDGES.view(np.uint64), ring(n, bits=49)])[:n]
    (a, b), sent, rounds = run(relu, parties(compare(n, bits)), shared(x))
    assert np.array_equal(signed(a + b), signed(x).clip(min=0))
    assert rounds == 5 and all(sum(t.nbytes for t in s) == 8 * (n + 113 * ((n + 63) // 64)) for s in sent)


@pytest.mark.parametrize("batch", [1, 3])
def test_drelu_is_exact_within_its_window(batch):
    x = np.stack([np.concatenate([EDGES.view(np.uint64), ring(100, bits=49, seed=i)]) for i in range(batch)])
    (a, b), _, rounds = run(drelu, parties(compare(x.shape[1], 49), batch=batch), shared(x))
    assert np.array_equal(a + b, signed(x) >= 0) and rounds == 5


def test_relu_fails_outside_of_its_window():
    x = np.full(64, 2**48, np.uint64)
    (a, b), _, _ = run(relu, parties(compare(64, 49)), shared(x))
    assert not np.array_equal(a + b, x)


@pytest.mark.parametrize("frac_bits", [FRAC_BITS[0], 13, 20, FRAC_BITS[-1]])
def test_every_number_format_has_room(frac_bits):
    bits = sign_bits(frac_bits)
    assert len(carry.groups(bits - 1)) == 3
    largest = 2 ** (62 - frac_bits)  # what the program lets pass, and a window that is filled up below it
    x = np.array([largest, -largest, largest + largest, -largest - largest, 0])
    (a, b), _, _ = run(relu, parties(compare(5, bits)), shared(x.view(np.uint64)))
    assert np.array_equal(signed(a + b), x.clip(min=0))


@pytest.mark.parametrize("nodes", [*range(2, 9), 16, 17, 63])
def test_carry_of_a_row(nodes):
    g, p = ring(nodes, 3), ring(nodes, 3, seed=1)
    expected = np.zeros(3, np.uint64)
    for k in range(nodes):
        expected = g[k] ^ (p[k] & expected)
    rows = [[ring(nodes, 3, seed=3 + k), ring(nodes, 3, seed=5 + k)] for k in range(2)]
    halves = [[rows[0][0], rows[1][0]], [rows[0][0] ^ g, rows[1][0] ^ p]]
    for level, count in enumerate(carry.groups(nodes)):
        masks = [ring(7, count, 3, seed=10 + 2 * level + k) for k in range(2)]
        share = ring(22, count, 3, seed=30 + level)
        shares = [share, share ^ carry.products(masks[0] ^ masks[1])]
        opened = [carry.operands(*half, k == 0) for k, half in enumerate(halves)]
        d = opened[0][0] ^ opened[1][0] ^ masks[0] ^ masks[1]
        halves = [carry.merge(opened[k][1], d, masks[k], shares[k], k == 0) for k in range(2)]
    assert np.array_equal(halves[0][0][0] ^ halves[1][0][0], expected)


def test_products_of_masks_are_the_ones_in_the_text():
    assert len(carry.PRODUCTS) == 22 and len(carry.OPERANDS) == 7


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("op, x, w, options", [
    ("conv2d", (4, 7, 6), (6, 4, 3, 3), {"stride": (1, 2), "padding": (1, 0), "dilation": (1, 1), "groups": 1}),
    ("conv2d", (4, 8, 8), (8, 2, 3, 2), {"stride": (2, 1), "padding": (2, 1), "dilation": (2, 1), "groups": 2}),
    ("conv2d", (5, 4, 4), (5, 1, 3, 3), {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 5}),
    ("linear", (9,), (4, 9), {}),
    ("linear", (3, 9), (4, 9), {}),
    ("mul", (33,), (33,), {}),
    ("mul", (3, 4, 4), (3, 1, 1), {}),
])  # fmt: skip
@pytest.mark.parametrize("bits", [18, 64])
def test_a_product_with_the_server_s_numbers_is_exact(op, x, w, options, batch, bits):
    value, x = ring(*w, bits=bits, seed=4), ring(batch, *x, seed=5)
    a, b = (torch.from_numpy(signed(v)) for v in (x, value))
    if op == "conv2d":
        exact = F.conv2d(a, b, None, **options)
    else:
        exact = a @ b.t() if op == "linear" else a * b
    step = weighted("channel" if op == "mul" else op, w, x.shape[1:], tuple(exact.shape[1:]), **options)
    results, sent, rounds = run(product, parties(step, value, batch), shared(x))
    assert np.array_equal(signed(sum(results)), exact.numpy())
    assert rounds == 1 and not sent[0] and sum(t.nbytes for t in sent[1]) == 8 * x.size


def test_squares_and_products_of_shared_values():
    x, y = ring(3, 70, bits=22), ring(3, 70, bits=22, seed=2)
    results, sent, rounds = run(square, parties(need("square", 70), batch=3), shared(x))
    off = signed(sum(results)) - (signed(x * x) >> FRAC)
    assert ((off >= 0) & (off <= 1)).all(), "off by less than one unit"
    assert rounds == 1 and [sum(t.nbytes for t in s) for s in sent] == [8 * 210] * 2
    results, sent, rounds = run(multiply, parties(need("multiply", 70), batch=3), shared(x), shared(y, 3))
    assert np.array_equal(sum(results), x * y)
    assert rounds == 1 and [sum(t.nbytes for t in s) for s in sent] == [16 * 210] * 2


def test_products_of_shared_matrices_are_exact():
    x, y = ring(3, 2, 5, 4, bits=22), ring(3, 2, 4, 6, bits=22, seed=2)
    step = need("matmul", 2, 5, 6, first=(2, 5, 4), second=(2, 4, 6))
    results, sent, rounds = run(matmul, parties(step, batch=3), shared(x), shared(y, 3))
    assert np.array_equal(sum(results), x @ y)
    assert rounds == 1 and [sum(t.nbytes for t in s) for s in sent] == [8 * (x.size + y.size)] * 2


@pytest.mark.parametrize("protocol, step, inputs", [
    (product, weighted("channel", (4096,), (4096,), (4096,)), 1),
    (square, need("square", 4096), 1),
    (multiply, need("multiply", 4096), 2),
    (matmul, need("matmul", 64, 64, first=(64, 64), second=(64, 64)), 2),
    (relu, compare(4096, 49), 1),
    (drelu, compare(4096, 49), 1),
])  # fmt: skip
def test_what_is_sent_is_uniform(protocol, step, inputs):
    # Shares that are zero at both parties: whatever is seen in a message is its mask.
    value = np.ones(4096, np.uint64) if step.op == "map" else None
    zeros = np.zeros((2, 1, *step.attrs.get("first", (4096,))), np.uint64)
    _, sent, _ = run(protocol, parties(step, value), *[zeros] * inputs)
    for words in (np.concatenate([m.reshape(-1) for m in messages]) for messages in sent if messages):
        ones = np.array([(words >> np.uint64(k) & np.uint64(1)).mean() for k in range(64)])
        assert (abs(ones - 0.5) < 6 * 0.5 / len(words) ** 0.5).all()
        assert len(np.unique(words)) == len(words)


@pytest.mark.parametrize("op", ["square", "multiply", "compare"])
def test_draws_do_not_repeat(op):
    steps = tuple(need(op, 64, name=f"step{i}.it", bits=49) for i in range(2))
    words = []
    for party in (0, 1):
        dealt = source(Plan(steps), party)
        for i in range(2):
            (held,) = dealt.take(f"step{i}").values()
            drawn = held if party else masks_layout(steps[i], 1, party)  # what is dealt to the server follows from them
            words += [held[name].reshape(-1) for name in drawn]
    words = np.concatenate(words)
    assert len(np.unique(words)) == len(words)


def test_a_correlation_is_given_out_once():
    needs = Plan((need("square", 4, name="one.it"), need("square", 4, name="two.it")))
    server = source(needs, 0)
    one, two = server.take("one")["one.it"], server.take("two")["two.it"]
    assert not (one["r"] == two["r"]).any()
    with pytest.raises(RuntimeError, match="dealt for None next, and step 'two'"):
        server.take("two")
    client = source(needs, 1)
    with pytest.raises(RuntimeError, match="dealt for 'one' next"):
        client.take("two")


def test_a_plan_survives_its_message_and_holds_sizes_only():
    torch.manual_seed(0)
    program = compile(replace(ar.transform(Everything().eval(), example_inputs=images()), 0.5), images())
    made = plan(program.crypten.public)
    text = to_text(made, 3)
    again, batch = from_text(text)
    assert batch == 3 and to_text(again, batch) == text and len(text) < 10_000
    assert again == made
    assert [*turns(again)] == [step.name for step in program.crypten.steps if step.name in turns(made)]
    for ours, theirs in zip(made.steps, again.steps):
        assert dealt_layout(ours, 3) == dealt_layout(theirs, 3)
    assert {step.op for step in made.steps} == {"map", "square", "multiply", "compare"}


@pytest.mark.parametrize("divisor", [1, 2, 2**16, 2**24, 3, 49])
def test_division_is_towards_zero_like_crypten_s(divisor):
    edges = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), divisor, -divisor, -divisor + 1])
    x = torch.cat([torch.from_numpy(signed(ring(1000))), edges])
    before = x.clone()
    assert torch.equal(truncate(x, divisor), x.div(divisor, rounding_mode="trunc"))
    assert torch.equal(x, before)


def test_without_the_extension_the_torch_operations_are_used(monkeypatch, caplog):
    assert launch._usable("fused") == "fused" and launch._usable("torch") == "torch"
    monkeypatch.setattr(kernels, "available", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert launch._usable("fused") == "torch"
    assert "compiled kernels are not installed" in caplog.text
