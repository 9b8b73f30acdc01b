"""The digest of what a file holds: equal for equal content, and for no other."""

import numpy as np
import pytest
import torch

from autorep_fx.content import digest

VALUES = [
    None, True, 1, 1.0, "1", b"1", [], (), {}, [1], (1,), [[1]], [1, [2]], [[1], 2], {"a": 1}, {"a": {"b": 1}}, {1: 1},
    {"a": 1, "b": 2}, {"a": 2, "b": 1}, "a", "ab", ["a", "b"], ["ab", ""], np.zeros(2), np.zeros((2, 1)),
    np.zeros((0, 2)), np.zeros(2, np.float32), np.zeros(4, np.float32), np.zeros((), np.int64), np.zeros(2, bool),
    torch.zeros(2).bfloat16(), torch.zeros(2).half(), torch.ones(()),
]  # fmt: skip


def test_no_two_values_have_one_digest():
    assert len({digest(value) for value in VALUES}) == len(VALUES)


def test_equal_values_have_one_digest_however_they_lie_in_memory():
    x = np.arange(12.0).reshape(3, 4)
    assert (
        digest({"a": x, "b": [1]})
        == digest({"b": [1], "a": np.asfortranarray(x)})
        == digest({"a": torch.from_numpy(x).t().contiguous().t(), "b": [1]})
    )
    x[1, 2] = np.nextafter(x[1, 2], 9)
    assert digest(x) != digest(np.arange(12.0).reshape(3, 4))


def test_what_has_no_digest():
    with pytest.raises(TypeError, match="a set has no digest"):
        digest([{1}])
