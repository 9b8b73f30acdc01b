import numpy as np
import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.plan.input_range import PAD, InputRange
from autorep_fx.secure.planner.extreme_inputs import probes


def rng(seed=0):
    return np.random.default_rng(seed)


def test_examples_give_each_channel_its_range_a_quarter_wider():
    x = np.stack([rng().uniform(0, 1, (8, 6, 6)), rng(1).uniform(-100, 300, (8, 6, 6))], 1)
    within = InputRange.of_examples(x)
    for c in (0, 1):
        low, high = x[:, c].min(), x[:, c].max()
        assert within.low[c] == pytest.approx(low - PAD * (high - low))
        assert within.high[c] == pytest.approx(high + PAD * (high - low))


def test_few_values_say_little_of_a_channel():
    within = InputRange.of_examples(np.array([[0.0, 5.0, 1.0], [0.1, 4.0, -1.0]]))
    assert len(set(within.low)) == len(set(within.high)) == 1 and within.low[0] < -1 and within.high[0] > 5


@pytest.mark.parametrize("beyond, text", [
    ((2, 0, 3, 4, 9.0), r"x holds 1 values beyond the range.*9 in sample 2, channel 0, where -0.25 to 1.25"),
    ((1, 1, 0, 0, -7.0), r"-7 in sample 1, channel 1, where -1 to 3 are answered.*check_range=False"),
])  # fmt: skip
def test_one_pixel_beyond_is_named(beyond, text):
    within = InputRange(np.array([-0.25, -1.0]), np.array([1.25, 3.0]))
    x = rng().uniform(0, 1, (4, 2, 5, 5))
    within.check(x)
    *at, value = beyond
    x[tuple(at)] = value
    with pytest.raises(ValueError, match=text):
        within.check(x)


def test_what_was_rounded_to_float32_is_not_beyond():
    high = 0.1
    InputRange.given(0.0, high, 1).check(np.full((1, 1, 2, 2), np.float32(high)))


@pytest.mark.parametrize("ends", [(1.0, 0.0), (0.0, float("inf")), ((0, 0, 0), 1.0), ("a", 1), (None, 1.0)])
def test_given_ranges_that_are_none(ends):
    with pytest.raises(ValueError, match="input_range must be"):
        InputRange.given(*ends, channels=2)


def test_statistics_tell_a_checkerboard_from_pictures():
    x = np.cumsum(np.cumsum(rng().normal(size=(32, 1, 16, 16)), 2), 3)
    x = (x - x.min()) / (x.max() - x.min())
    within = InputRange.of_examples(x)
    board = np.indices((16, 16)).sum(0) % 2 * 1.0
    within = within.with_statistics(x, board[None, None])
    within.check(x)
    within.check(x.transpose(0, 1, 3, 2) * 0.9 + 0.05)  # wide enough for pictures that are like them
    with pytest.raises(ValueError, match="sample 1 has a .* of .* of the input range"):
        within.check(np.stack([x[0], board[None]]))
    assert within.typical(np.stack([x[0], board[None]])).tolist() == [True, False]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (12,), (4, 6), (2, 3, 4, 4)])
def test_probes_are_at_the_ends_and_among_them_one_colour_and_a_checkerboard(shape):
    low, high = -np.arange(1.0, shape[0] + 1), np.arange(2.0, shape[0] + 2)
    within = InputRange(low, high)
    found = probes(within, shape)
    assert found.shape[1:] == shape and len(found) < 64 and np.array_equal(found, probes(within, shape))
    ends = (low.reshape(-1, *(1,) * (len(shape) - 1)), high.reshape(-1, *(1,) * (len(shape) - 1)))
    assert np.all((found == ends[0]) | (found == ends[1]))
    assert (found == ends[0]).all(tuple(range(1, found.ndim))).any()
    if len(shape) == 3:
        board = np.where(np.indices(shape[1:]).sum(0) % 2 == 0, *ends)
        assert (found == board).all((1, 2, 3)).any() or (found == np.where(board == ends[0], ends[1], ends[0])).any()
    within.check(found)


def program(**options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    x = torch.rand(16, 1, 8, 8)
    return ar.compile(ar.transform(net, example_inputs=x), x, **options), x


def test_the_client_refuses_before_anything_starts_and_may_be_told_not_to(monkeypatch):
    made, x = program(input_range=(0.0, 1.0))
    started = "autorep_fx.secure.secure_program.Session"
    monkeypatch.setattr(started, lambda *a, **k: pytest.fail("a session was started"))
    x[3, 0, 2, 2] = 1.5
    with pytest.raises(ValueError, match="1.5 in sample 3, channel 0, where 0 to 1 are answered"):
        made.run(x)
    monkeypatch.undo()
    assert (made.run(x[:4], check_range=False).output - made.run(x[:3]).output[:1]).shape == (4, 3)


def test_a_session_refuses_and_goes_on():
    made, x = program()
    with made.session() as session:
        first = session.run(x).output
        with pytest.raises(ValueError, match="beyond the range"):
            session.run(x * 100)
        assert (session.run(x).output - first).abs().max() < 0.01


def test_examples_beyond_the_given_range():
    with pytest.raises(ValueError, match="example_inputs holds .* beyond the range"):
        program(input_range=(0.2, 1.0))
    with pytest.raises(ValueError, match=r"input_range must be \(low, high\), got 1.0"):
        program(input_range=1.0)


def test_one_colour_and_a_checkerboard_are_answered():
    """Of a network of ReLUs: ranges are taken from such pictures, too, beside the examples."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    with torch.no_grad():
        net[0].weight -= net[0].weight.mean((1, 2, 3), keepdim=True)  # edges, not brightness
    x = 0.5 + 0.01 * torch.rand(16, 1, 8, 8)  # hardly any
    made = ar.compile(ar.transform(net.eval(), example_inputs=x), x, input_range=(0.0, 1.0))
    board = torch.from_numpy(np.indices((8, 8)).sum(0) % 2).float().expand(1, 1, 8, 8)
    for picture in (board, 1 - board, torch.zeros_like(board), torch.ones_like(board)):
        output = made.run(picture).output
        assert (output - net(picture)).abs().max() < 0.02 * net(board).abs().max()


def test_squares_that_run_away_make_such_pictures_be_refused():
    torch.manual_seed(0)
    layers = [layer for _ in range(6) for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())]
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), *layers, nn.Flatten(), nn.Linear(256, 4)).eval()
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Conv2d):
                layer.weight *= 2
    x = 0.5 + 0.1 * torch.rand(64, 1, 8, 8)
    gm = ar.transform(net, calibration=x, relu_budget=0, growth=None)
    made = ar.compile(gm, x, input_range=(-2.0, 3.0), max_error=1e9)
    board = torch.from_numpy(np.indices((8, 8)).sum(0) % 2 * 5.0 - 2).float().expand(1, 1, 8, 8)
    assert not made.headroom(board).fits
    with pytest.raises(ValueError, match="unlike the examples"):
        made.run(board)


def test_an_input_of_a_type_that_numpy_lacks_is_answered():
    made, x = program()
    assert made.run(x[:2].bfloat16()).output.dtype == torch.bfloat16


class Reads(nn.Module):
    """A first layer, and what the model makes of its input before."""

    def __init__(self, layer, before=lambda x: x):
        super().__init__()
        self.layer, self.before = layer, before

    def forward(self, x):
        return self.layer(self.before(x)).relu().flatten(1)


def uniform(*shape, scale=1.0):
    return torch.rand(64, *shape, generator=torch.Generator().manual_seed(0)).mul(torch.as_tensor(scale))


SECOND_UNIT = torch.tensor([[1.0], [100.0]])
BORDERED = torch.nn.functional.pad(torch.ones(6, 6), (1, 1, 1, 1))

#: name -> (model, examples, whether all of axis 1 have one range)
READ = {
    "waveforms": (Reads(nn.Conv1d(1, 4, 8, 4), lambda x: x[:, None]), uniform(64), True),
    "features of one kind": (Reads(nn.Linear(64, 8)), uniform(64, scale=torch.linspace(1, 3, 64)), True),
    "features in several units": (Reads(nn.Linear(8, 8)), uniform(8, scale=10.0 ** torch.arange(8)), False),
    "flat pictures with a border": (Reads(nn.Linear(64, 8)), uniform(64, scale=BORDERED.flatten()), True),
    "features behind a norm": (Reads(nn.Sequential(nn.BatchNorm1d(9), nn.Linear(9, 4))), uniform(9), True),
    "channels of a signal": (Reads(nn.Conv1d(2, 4, 3)), uniform(2, 16, scale=SECOND_UNIT), False),
    "channels of a signal, alike": (Reads(nn.Conv1d(2, 4, 3)), uniform(2, 16), False),
    "channels of a signal, normalised": (
        Reads(nn.Conv1d(2, 4, 3), lambda x: (x - 0.5) / torch.tensor([[2.0], [3.0]])), uniform(2, 16), False,
    ),
    "a sequence of features": (Reads(nn.Conv1d(3, 4, 3), lambda x: x.transpose(1, 2)), uniform(16, 3), True),
    "a sequence for a linear layer": (Reads(nn.Linear(3, 4)), uniform(16, 3), True),
    "pictures without an axis of channels": (
        Reads(nn.Conv2d(1, 4, 3), lambda x: 2 * x.unsqueeze(1)), uniform(8, 8, scale=BORDERED), True,
    ),
    "pictures": (Reads(nn.Conv2d(3, 4, 3), lambda x: torch.flip(x, [3]) * 2 - 1), uniform(3, 8, 8), False),
    "flattened pictures": (Reads(nn.Linear(192, 4), lambda x: x.flatten(1)), uniform(3, 8, 8), False),
    "pictures with channels last": (
        Reads(nn.Conv2d(3, 4, 3), lambda x: (x / 255).permute(0, 3, 1, 2)), uniform(8, 8, 3, scale=255.0), True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_positions_that_are_alike_have_one_range_and_channels_their_own(name):
    model, x, one = READ[name]
    made = ar.compile(ar.transform(model.eval()), x, max_error=1)
    within = InputRange.of_plan(made.native[0])
    assert len(within.low) == x.shape[1] and (len({*within.low}) == len({*within.high}) == 1) == one
    within.check(x.double().numpy())
    if one:
        shuffled = x[:, torch.randperm(x.shape[1])]
        within.check(shuffled.double().numpy())


def test_ordinary_waveforms_are_answered_and_others_are_told_their_position():
    def frames(n, seed):
        generator = torch.Generator().manual_seed(seed)
        t, f = torch.arange(256) / 4000, 70 * 2 ** (2 * torch.rand(n, 1, generator=generator))
        x = torch.sin(2 * torch.pi * f * t) + 0.2 * torch.randn(n, 256, generator=generator)
        return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)

    made = ar.compile(ar.transform(READ["waveforms"][0].eval()), frames(64, 0), max_error=1)
    within = InputRange.of_plan(made.native[0])
    within.check(frames(500, 1).double().numpy())
    beyond = frames(3, 2).double()
    beyond[1, 17] = 40
    with pytest.raises(ValueError, match="40 in sample 1, position 17, where"):
        made.run(beyond)
