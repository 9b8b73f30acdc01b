"""What two make of their halves of a mask is what the contract says: every array, of every operation."""

import functools

import numpy as np
import pytest
from ideal_transfers import against, ideal
from native_runs import compiled
from networks import Everything, images, replace
from torch import nn

from autorep_fx.kernels.masked import full
from autorep_fx.secure.correlations import layout
from autorep_fx.secure.makers.paired import maps
from autorep_fx.secure.makers.paired.making import Piece
from autorep_fx.secure.makers.paired.operations import matmul
from autorep_fx.secure.makers.paired.table import MAKING
from autorep_fx.secure.parties import gmw
from autorep_fx.secure.parties.operations.product import factors
from autorep_fx.secure.plan import wire
from autorep_fx.secure.plan.plan import Step
from autorep_fx.secure.plan.ring import elements, kernel

BATCH = 2


@pytest.fixture(scope="module")
def program():
    """Hybrid sites, max pooling, ReLU6, leaky ReLU, PReLU, a spline, a product."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.SiLU(), nn.LeakyReLU(0.2), Everything())
    return compiled(model, images(), lambda gm: replace(gm, 0.5))


@pytest.fixture(scope="module")
def keys():
    """Of encrypted maps: what the server has, and the client's."""
    key = maps.ClientKey()
    return maps.PublicKey.of(key.public), key


def made(step, rng, most=2**40, keys=None):
    """(server's shares, client's shares, s, B), in pieces that keep so many bytes of transfers."""
    making, ring = MAKING[step.op], elements(step.attrs["wire"])
    s, b = (rng.integers(0, 2**64, (BATCH, step.wire_size), np.uint64).astype(ring) for _ in range(2))
    pieces, shares = list(making.pieces(step, BATCH, most)), ([], [])
    for piece in pieces:
        assert making.kept_bytes(step, piece) <= most or piece.size <= making.units(step, BATCH)[1]
        found = ideal(making.needs(step, piece), rng)
        sides = [making.make(step, piece, half, pair, party, *([] if keys is None else [keys[party]]))
                 for party, (half, pair) in enumerate(zip((s, b), found))]  # fmt: skip
        *both, turns = against(*sides)
        assert {pair.left for pair in found} == {0}
        assert turns == making.words(step, piece)
        for party, share in enumerate(both):
            shares[party].append(share)
    return *(making.joined(step, BATCH, pieces, own) for own in shares), s, b, len(pieces)


def alpha_of(s, b, shift):
    """The mask as two truncate it, L bits, in 64."""
    length = 8 * s.itemsize - shift
    return (s.astype(np.uint64) >> np.uint64(shift)) - (b.astype(np.uint64) >> np.uint64(shift)) & np.uint64(
        2**length - 1
    )


def halves(alpha, length, ring):
    """alpha and beta in the ring of a result."""
    beta = (alpha >> np.uint64(length - 1)) << np.uint64(length) if length < 64 else np.zeros_like(alpha)
    return alpha.astype(ring), beta.astype(ring)


def _total(server, client, ring, name):
    return full(server[name], ring) + full(client[name], ring)


SHAPES = {
    "heads": ((2, 6, 4), (2, 4, 6)),
    "long": ((3, 200), (200, 2)),
    "a vector": ((1, 5), (5, 1)),
    "large": ((2, 30, 8), (2, 8, 41)),
}


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_the_product_of_two_masks_is_off_by_two_units_of_the_ring_at_most(keys, shapes, width):
    assert len(multiplied(keys, product_of(*shapes, width))) == 2


@pytest.mark.parametrize("width", [32, 64])
def test_a_large_product_of_two_masks_goes_in_messages_of_a_stated_size(keys, width, monkeypatch):
    step = product_of(*SHAPES["large"], width)
    limits = ["_MOST", "_MOST_OF_ONE"]
    for own, matrices, count in ((limits[:1], 2 * BATCH, 4), (limits, 1, 16)):  # some of the matrices; a part of each
        most = min(sum(part.words) for part in matmul.parts(step, Piece(0, matrices))) - 1
        for name in own:
            monkeypatch.setattr(matmul, name, most)
        parts = multiplied(keys, step)
        assert len(parts) >= count and max(sum(part.words) for part in parts) <= most
    assert len(multiplied(keys, step, most=1)) >= 16  # and piece by piece


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("first, second", [((64, 512), (512, 512)), ((512, 64), (64, 512))])
def test_parts_of_a_large_matrix_are_as_small_as_stated(first, second, width, monkeypatch):
    step, piece = product_of(first, second, width), Piece(0, 1)
    whole = [sum(part.words) for part in matmul.parts(step, piece)]
    monkeypatch.setattr(matmul, "_MOST_OF_ONE", max(whole) // 2)
    parts = [sum(part.words) for part in matmul.parts(step, piece)]
    assert len(parts) > len(whole) and max(parts) <= max(whole) // 2
    assert sum(parts) < 2.5 * sum(whole)


def product_of(first, second, width):
    attrs = {"first": first, "second": second, "wire": width}
    return Step("p", "matmul", ("x", "y"), (*first[:-1], second[-1]), 9, width, attrs)


def multiplied(keys, step, most=2**40):
    """The parts of a product that was made, and is right."""
    server, client, s, b, pieces = made(step, np.random.default_rng(3), most, keys)
    for name, (shape, dtype) in layout.layout(step, BATCH).items():
        assert server[name].shape == client[name].shape == shape and server[name].dtype == dtype
    np.testing.assert_array_equal(server["r"] + client["r"], s - b)
    x, y = factors(step, s - b)
    off = _total(server, client, elements(step.width), "product") - (x @ y).reshape(BATCH, -1)
    assert np.abs(off.view(f"i{step.width // 8}")).max() <= 2
    assert pieces == (1 if most > 1 else matmul.units(step, BATCH)[0])
    whole = Piece(0, matmul.units(step, BATCH)[0])
    parts = matmul.parts(step, whole)
    assert len(matmul.words(step, whole)) == len(parts) + 1
    assert matmul.MAKING.encrypted.held(step, whole) == 8 * max(sum(part.words) for part in parts)
    return parts


def masked_steps(program):
    plan = program.native[0].with_comparison("gmw")
    return [step for step in plan.steps if step.masked]


@pytest.mark.parametrize("most", [2**40, 2**12], ids=["whole", "in pieces"])
def test_every_array_is_what_the_contract_says(program, most):
    rng, seen = np.random.default_rng(1), set()
    for step in masked_steps(program):
        server, client, s, b, pieces = made(step, rng, most)
        seen |= {f"{step.op} in pieces"} if pieces > 1 else set()
        ring, found = elements(step.width), layout.layout(step, BATCH)
        assert {*found} <= {*server} == {*client}

        total = functools.partial(_total, server, client, ring)
        if step.op == "product":
            (a1, b1), (a2, b2) = (
                halves(alpha_of(x, y, shift), 8 * s.itemsize - shift, ring)
                for x, y, shift in zip(factors(step, s), factors(step, b), step.attrs["shift"])
            )
            for name, want in (("aa", a1 * a2), ("ab", a1 * b2), ("ba", b1 * a2), ("bb", b1 * b2)):
                np.testing.assert_array_equal(total(name), want.reshape(BATCH, -1))
            seen.add("product")
            continue
        shift, a = step.attrs["shift"], step.attrs
        alpha64 = alpha_of(s, b, shift)
        alpha, beta = halves(alpha64, 8 * s.itemsize - shift, ring)
        two = ring.type(2)
        true = {"alpha": alpha, "beta": beta, "alpha2": alpha * alpha, "ab": two * alpha * beta - beta * beta}
        for name in true:
            if name in found:
                np.testing.assert_array_equal(total(name), true[name], err_msg=f"{step.name} {name}")
                seen.add(name)
        n, repeat = wire.compared(step, BATCH), len(wire.points(step)) if wire.compared(step, BATCH) else 1
        if not n:
            continue
        planes = (server["bits"] ^ client["bits"]).reshape(a["window"] + 1, repeat, -1)
        window = wire.kept_of(step, alpha64) & np.uint64(2 ** a["window"] - 1)
        for point in range(repeat):
            part = np.ascontiguousarray(planes[:, point])
            np.testing.assert_array_equal(kernel().unpack_bits(part[:-1], n), window)
            u = kernel().unpack_bits(part[-1:], n).astype(ring)
            own = slice(point * n, (point + 1) * n)
            np.testing.assert_array_equal(total("u")[own], u)
            if "u_alpha" in found:
                np.testing.assert_array_equal(total("u_alpha")[own], u * wire.kept_of(step, alpha))
                np.testing.assert_array_equal(total("u_beta")[own], u * wire.kept_of(step, beta))
        for (a0, b0, c0), (a1, b1, c1) in zip(
            *(gmw.triples(a["window"], half["mask"], half["product"]) for half in (server, client))
        ):
            np.testing.assert_array_equal(c0 ^ c1, np.resize(a0 ^ a1, b0.shape) & (b0 ^ b1))
        seen.add(a["kind"])
        if "a_alpha" in found:
            opening = server["a"] + client["a"]
            kept = {name: wire.kept_of(step, v) for name, v in true.items()}
            np.testing.assert_array_equal(total("a_alpha"), opening * kept["alpha"])
            np.testing.assert_array_equal(total("a_beta"), opening * kept["beta"])
            seen.add("spline")
            if "a_alpha2" in found:
                np.testing.assert_array_equal(total("a_alpha2"), opening[1] * kept["alpha2"])
                np.testing.assert_array_equal(total("a_ab"), opening[1] * kept["ab"])
                seen.add("bends")
    assert {"product", "spline", "alpha2", "ab", "alpha", "relu", "bends"} <= seen, seen
    assert ({"product in pieces", "activation in pieces"} <= seen) == (most < 2**40), seen
