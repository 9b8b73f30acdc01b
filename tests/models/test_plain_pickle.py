"""Pickles are read, never run; what a crafted one asks for costs nothing."""

import pickle
import tracemalloc

import numpy as np
import pytest

from autorep_fx.models.plain_pickle import loads

DATA = {
    b"data": np.arange(64, dtype=np.uint8).reshape(4, 16), b"labels": [0, 300, -1, 10**12], b"names": [b"a", b"\xff"],
    "text": "ä", "none": None, "tuple": (1, 2, True, False, (), (3,), (4, 5)), "nested": [[{}], {"a": [b"b"]}],
}  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_protocol(protocol):
    found = loads(pickle.dumps(DATA, protocol))
    assert found.keys() == DATA.keys() and np.array_equal(found[b"data"], DATA[b"data"])
    assert all(found[key] == DATA[key] for key in DATA if key != b"data")


def test_strings_of_python_2_are_bytes():
    assert loads(b"\x80\x02}U\x01aU\x02\xffb" + b"s.") == {b"a": b"\xffb"}
    assert loads(b"(dp0\nS'a'\np1\nI5\ns.") == {b"a": 5}


def _long(n):
    return n.to_bytes(8, "little")


@pytest.mark.parametrize(
    "program,message",
    [
        (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "asks for os.system"),
        (b"cnumpy\nndarray\n(I999999999999\ntR.", "asks for numpy.ndarray"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "operation NEWOBJ"),
        (b"(S'true'\nios\nsystem\n.", "operation INST"),
        (b"\x80\x02\x82\x01.", "operation EXT1"),
        (b"Pelsewhere\n.", "operation PERSID"),
        (b"N(dR.", "dict where a tuple"),
        (b"]}b.", "dict where a tuple"),
        (b"\x80\x04\x8e" + _long(1 << 40) + b"x.", "."),  # a terabyte of bytes is announced
        (b"\x80\x05\x96" + _long(1 << 40) + b"x.", "."),
        (b"(" * 5_000_000 + b".", "more than 4,000,000 operations"),
        (b"a.", "no whole pickle"),
        (b"N", "."),
        (b"", "."),
        (b"](]es.", "no whole pickle|where a"),
    ],
)
def test_everything_else_is_refused(program, message):
    with pytest.raises(ValueError, match=message):
        loads(program)


def test_a_far_place_in_the_memo_costs_nothing():
    """The unpickler of the standard library sets aside 64 GB for this one."""
    tracemalloc.start()
    assert loads(b"\x80\x02Nr\xff\xff\xff\xff.") is None
    assert tracemalloc.get_traced_memory()[1] < 1 << 16
    tracemalloc.stop()


def test_a_text_encoded_again_and_again_is_refused():
    again = b"h\x00h\x01h\x02\x86R"
    program = b"\x80\x02c_codecs\nencode\nq\x00X" + (1000).to_bytes(4, "little") + b"x" * 1000 + b"q\x01"
    program += b"X\x06\x00\x00\x00latin1q\x02" + again * 1000 + b"."
    with pytest.raises(ValueError, match="it grows"):
        loads(program)
