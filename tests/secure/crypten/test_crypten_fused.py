"""The fused protocols without processes: both parties' halves run in turns, the correlations from a real dealer."""

import contextlib
import logging
from types import SimpleNamespace

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

from autorep_fx.secure.crypten import launch
from autorep_fx.secure.crypten.fused import carry
from autorep_fx.secure.crypten.fused.correlations import Compare, Multiply, Product, Square
from autorep_fx.secure.crypten.fused.dealer import Dealer
from autorep_fx.secure.crypten.fused.plan import Plan, plan, sign_bits
from autorep_fx.secure.crypten.fused.protocols import multiply, product, relu, square
from autorep_fx.secure.crypten.fused.sources import Source
from autorep_fx.secure.crypten.fused.streams import Stream
from autorep_fx.secure.crypten.fused.weights import Factor, Weight
from autorep_fx.secure.crypten.kernels import FusedKernels, TorchKernels

FRAC = 16
SEEDS = [bytes([i]) * 16 for i in range(3)]


class _Meter:
    def providing(self):
        return contextlib.nullcontext()


def ring(*shape, bits=64, seed=0):
    """Random signed integers of so many bits."""
    words = kernels.prg_words(bytes([200 + seed]) * 16, 9, shape).view(np.int64)
    return torch.from_numpy(words >> (64 - bits))


def shared(x, seed=1):
    mask = ring(*x.shape, seed=seed)
    return x - mask, mask


def parties(correlation, weight=None, value=None):
    """Both parties and their parts of one correlation."""
    deal = Plan({} if weight is None else {"w": weight}, {"step": {"it": correlation}})
    dealer = Dealer(deal, SEEDS)
    found = []
    for party in (0, 1):
        source = Source(deal, Stream(SEEDS[1 + party]), None if party else dealer.deal, _Meter())
        (held,) = source.take("step").values()
        s = SimpleNamespace(first=party == 0, party=party, frac_bits=FRAC, factors={})
        if weight is not None:
            opened = value - Stream(SEEDS[0])(weight.shape)
            s.factors["w"] = Factor(weight, opened if party else value)
        found.append((s, held))
    return found


def run(protocol, found, *inputs):
    """(results, what each party sent, rounds)."""
    halves = [protocol(*who, *args) for who, args in zip(found, zip(*inputs))]
    results, incoming, sent, rounds = [None, None], [None, None], ([], []), 0
    while None in results:
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
                sent[party].append(message.send.clone())
            if message.receive is not None:
                other = messages[1 - party].send
                assert tuple(other.shape) == tuple(message.receive)
                incoming[party] = other.clone()
        rounds += any(m is not None for m in messages)
    return results, sent, rounds


EDGES = torch.tensor([0, 1, -1, 2, -2, 2**16, -(2**16), 2**46, -(2**46), 2**48 - 1, -(2**48), 2**47, -(2**47)])


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 130, 1000])
def test_relu_is_exact_within_its_window(n):
    bits = sign_bits(FRAC)
    assert bits == 49
    x = torch.cat([EDGES, ring(n, bits=49)])[:n]
    found = parties(Compare(n, bits))
    (a, b), sent, rounds = run(relu, found, shared(x))
    assert torch.equal(a + b, x.clamp(min=0))
    assert rounds == 5 and all(sum(t.nbytes for t in s) == 8 * (n + 113 * ((n + 63) // 64)) for s in sent)


def test_relu_fails_outside_of_its_window():
    x = torch.full((64,), 2**48)
    (a, b), _, _ = run(relu, parties(Compare(64, 49)), shared(x))
    assert not torch.equal(a + b, x)


@pytest.mark.parametrize("frac_bits", [FRAC_BITS[0], 13, 20, FRAC_BITS[-1]])
def test_every_number_format_has_room(frac_bits):
    bits = sign_bits(frac_bits)
    assert len(carry.groups(bits - 1)) == 3
    largest = 2 ** (62 - frac_bits)  # what the program lets pass, and a window that is filled up below it
    x = torch.tensor([largest, -largest, largest + largest, -largest - largest, 0])
    (a, b), _, _ = run(relu, parties(Compare(5, bits)), shared(x))
    assert torch.equal(a + b, x.clamp(min=0))


@pytest.mark.parametrize("nodes", [*range(2, 9), 16, 17, 63])
def test_carry_of_a_row(nodes):
    g, p = ring(nodes, 3).numpy(), ring(nodes, 3, seed=1).numpy()
    expected = np.zeros(3, np.int64)
    for k in range(nodes):
        expected = g[k] ^ (p[k] & expected)
    rows = [[x.numpy() for x in (ring(nodes, 3, seed=3 + k), ring(nodes, 3, seed=5 + k))] for k in range(2)]
    halves = [[rows[0][0], rows[1][0]], [rows[0][0] ^ g, rows[1][0] ^ p]]
    for level, count in enumerate(carry.groups(nodes)):
        masks = [ring(7, count, 3, seed=10 + 2 * level + k).numpy() for k in range(2)]
        share = ring(22, count, 3, seed=30 + level).numpy()
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
    if op == "conv2d":
        exact = F.conv2d(x, value, None, **options)
    else:
        exact = x @ value.t() if op == "linear" else x * value
    correlation = Product("w", tuple(x.shape), tuple(exact.shape))
    held = parties(correlation, Weight(op, w, options, tuple(x.shape)), value)
    results, sent, rounds = run(lambda s, held, x: product(s, held, "w", x), held, shared(x))
    assert torch.equal(sum(results), exact)
    assert rounds == 1 and not sent[0] and sum(t.nbytes for t in sent[1]) == 8 * x.numel()


def test_squares_and_products_of_shared_values():
    x, y = ring(3, 70, bits=22), ring(3, 70, bits=22, seed=2)
    results, sent, rounds = run(square, parties(Square((3, 70))), shared(x))
    assert ((sum(results) - (x * x >> FRAC)) // 2 == 0).all(), "off by less than one unit"
    assert rounds == 1 and [sum(t.nbytes for t in s) for s in sent] == [8 * 210] * 2
    results, sent, rounds = run(multiply, parties(Multiply((3, 70))), shared(x), shared(y, 3))
    assert torch.equal(sum(results), x * y)
    assert rounds == 1 and [sum(t.nbytes for t in s) for s in sent] == [16 * 210] * 2


@pytest.mark.parametrize("protocol, correlation, inputs", [
    (lambda s, held, x: product(s, held, "w", x), Product("w", (4096,), (4096,)), 1),
    (square, Square((4096,)), 1),
    (multiply, Multiply((4096,)), 2),
    (relu, Compare(4096, 49), 1),
])  # fmt: skip
def test_what_is_sent_is_uniform(protocol, correlation, inputs):
    # Shares that are zero at both parties: whatever is seen in a message is its mask.
    weight = Weight("mul", (4096,))
    zeros = torch.zeros(2, 4096, dtype=torch.int64)
    _, sent, _ = run(protocol, parties(correlation, weight, torch.ones(4096, dtype=torch.int64)), *[zeros] * inputs)
    for words in (torch.cat([m.flatten() for m in messages]) for messages in sent if messages):
        ones = torch.stack([(words >> k & 1).double().mean() for k in range(64)])
        assert ((ones - 0.5).abs() < 6 * 0.5 / len(words) ** 0.5).all()
        assert len(words.unique()) == len(words)


def test_draws_do_not_repeat():
    stream, again, other = Stream(SEEDS[1]), Stream(SEEDS[1]), Stream(SEEDS[2])
    first, second = stream((64,)), stream((64,))
    assert torch.equal(first, again((64,))) and len(torch.cat([first, second, other((64,))]).unique()) == 192


def test_a_correlation_is_given_out_once():
    deal = Plan({}, {"one": {"it": Square((4,))}, "two": {"it": Square((4,))}})
    source = Source(deal, Stream(SEEDS[1]), Dealer(deal, SEEDS).deal, _Meter())
    one, two = source.take("one")["it"], source.take("two")["it"]
    assert not (one[0] == two[0]).any()
    with pytest.raises(RuntimeError, match="dealt for None next, and step 'two'"):
        source.take("two")
    source = Source(deal, Stream(SEEDS[1]), None, _Meter())
    with pytest.raises(RuntimeError, match="dealt for 'one' next"):
        source.take("two")


def test_a_plan_survives_its_message_and_holds_sizes_only():
    torch.manual_seed(0)
    program = compile(replace(ar.transform(Everything().eval(), example_inputs=images()), 0.5), images())
    made = plan(program.crypten.public, 3)
    text = made.to_json()
    again = Plan.from_json(text)
    assert again.to_json() == text and len(text) < 10_000
    for step, roles in made.needs.items():
        for role, correlation in roles.items():
            assert [tuple(s) for s in again.needs[step][role].dealt()] == correlation.dealt()
    kinds = {type(c) for roles in made.needs.values() for c in roles.values()}
    assert kinds == {Product, Square, Multiply, Compare}


@pytest.mark.parametrize("divisor", [1, 2, 2**16, 2**24, 3, 49])
def test_division_is_towards_zero_like_crypten_s(divisor):
    x = torch.cat([ring(1000), torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), divisor, -divisor, -divisor + 1])])
    before = x.clone()
    assert torch.equal(FusedKernels().truncate(x, divisor), TorchKernels().truncate(x, divisor))
    assert torch.equal(x, before)


def test_without_the_extension_the_torch_operations_are_used(monkeypatch, caplog):
    assert launch._usable("fused") == "fused" and launch._usable("torch") == "torch"
    monkeypatch.setattr(kernels, "available", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert launch._usable("fused") == "torch"
    assert "compiled kernels are not installed" in caplog.text
