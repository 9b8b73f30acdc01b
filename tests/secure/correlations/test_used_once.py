"""What is prepared is used once, by the process that prepared it."""

import numpy as np
import pytest
from forks import said_in_a_fork

from autorep_fx.errors import PartyError
from autorep_fx.secure.correlations.prepared import Prepared
from autorep_fx.secure.correlations.stream import Stream


def test_what_is_prepared_is_taken_once():
    prepared = Prepared("client", 1, 7, {"x": np.zeros(3, np.uint64)}, {})
    assert prepared.take()[0]["x"].size == 3
    with pytest.raises(PartyError, match="what the client prepared for inference 7 was used already"):
        prepared.take()


def test_a_fork_uses_neither_what_is_prepared_nor_a_stream_of_masks():
    prepared, stream = Prepared("client", 1, 7, {"x": np.zeros(3, np.uint64)}, {}), Stream(bytes(16), 7)
    used, drawn = said_in_a_fork(prepared.take, lambda: stream.words(0, 0, 4))
    assert "what the client prepared for inference 7 belongs to the process that started it" in used
    assert "a stream of masks belongs to the process that started it" in drawn
    assert prepared.take()[0]["x"].size == 3 and stream.words(0, 0, 4).size == 4


def test_a_lock_that_a_thread_holds_keeps_no_fork_waiting():
    prepared = Prepared("client", 1, 7, {}, {})
    with prepared._parts._lock:
        assert "belongs to" in said_in_a_fork(prepared.take)[0]
