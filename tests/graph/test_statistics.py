"""Streaming statistics equal the ones of all data at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autorep_fx.graph.statistics import Moments, SiteStatistics, StreamingHistogram


def test_histogram_counts_are_exact_while_the_range_grows():
    torch.manual_seed(0)
    chunks = [torch.randn(3, 100) * scale + shift for scale, shift in ((1e-3, 0), (1, 5), (10, -400), (0.1, 90))]
    histogram = StreamingHistogram(3, 64)
    for chunk in chunks:
        histogram.update(chunk)
    everything = torch.cat(chunks, 1).double()
    assert torch.equal(histogram.counts.sum(1), torch.full((3,), 400.0, dtype=torch.float64))
    for c in range(3):
        edges = histogram.low[c] + torch.arange(65, dtype=torch.float64) * histogram.width[c]
        expected, _ = np.histogram(everything[c].numpy(), edges.numpy())
        # Merging bins in pairs is exact but for values within rounding of an edge.
        assert np.abs(expected - histogram.counts[c].numpy()).sum() <= 4
        used = histogram.counts[c].nonzero()
        assert used.max() - used.min() >= 64 // 4  # the range fits the data


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), min_size=1, max_size=6))
def test_histogram_loses_nothing(chunks):
    histogram = StreamingHistogram(1, 16)
    for chunk in chunks:
        histogram.update(torch.tensor(chunk)[None])
    values = torch.tensor([v for chunk in chunks for v in chunk]).double()
    assert histogram.counts.sum() == len(values)
    assert histogram.low[0] <= values.min() and values.max() <= histogram.low[0] + 16 * histogram.width[0] * (1 + 1e-9)


def test_histogram_of_a_constant_channel():
    histogram = StreamingHistogram(2, 8)
    histogram.update(torch.tensor([[3.0, 3.0], [0.0, 0.0]]))
    histogram.update(torch.tensor([[3.0, 3.0], [0.0, 1.0]]))
    assert histogram.counts.sum() == 8


def test_odd_bins_are_refused():
    with pytest.raises(ValueError, match="even"):
        StreamingHistogram(1, 7)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4)])
def test_moments_over_a_mask_equal_direct_sums(shape):
    torch.manual_seed(0)
    moments, x = Moments(shape, 2), torch.randn(30, *shape) * 3 + 1
    for part in x.split(7):
        moments.update(part, part.relu())
    where = torch.rand(shape) < 0.5
    count, powers, cross, square = moments.over(where)
    view = (-1,) + (1,) * (len(shape) - 1)
    z = (x.double() - moments.shift.view(view)) / moments.scale.view(view)
    a = x.relu().double()

    def direct(values):
        return (values * where).transpose(0, 1).flatten(1).sum(1)

    assert torch.equal(count, direct(torch.ones_like(z)))
    for k in range(5):
        torch.testing.assert_close(powers[:, k], direct(z**k))
    for k in range(3):
        torch.testing.assert_close(cross[:, k], direct(a * z**k))
    torch.testing.assert_close(square, direct(a * a))


def test_site_statistics_keep_the_range():
    statistics = SiteStatistics((2, 2), degree=1)
    for x in (torch.tensor([[[1.0, 2.0], [-3.0, 0.0]]]), torch.tensor([[[5.0, -1.0], [0.0, 0.5]]])):
        statistics.update(x, x)
    assert statistics.low.tolist() == [-1, -3] and statistics.high.tolist() == [5, 0.5] and statistics.samples == 2


def test_values_that_no_range_holds_are_refused():
    for bad in (torch.inf, torch.nan):
        with pytest.raises(ValueError, match="finite"):
            StreamingHistogram(1, 8).update(torch.tensor([[0.0, bad]]))
