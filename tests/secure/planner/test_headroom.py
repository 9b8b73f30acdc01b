import numpy as np
import pytest
import torch
from native_runs import planned
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.planner.headroom import headroom
from autorep_fx.secure.planner.node import Margins
from autorep_fx.secure.program.plaintext import execute


def made(fraction=0.3, **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3), nn.ReLU6(),
                        nn.Flatten(), nn.Linear(4, 3))  # fmt: skip
    return ar.compile(replace(ar.transform(net.eval(), example_inputs=images()), fraction), images(16), **options)


def test_it_says_step_by_step_how_near_an_input_comes():
    program, x = made(), images(16)
    found = program.headroom(x)
    assert found.fits and (found.samples < 1).all() and found.samples.shape == (16,)
    rooms = {(use.step, use.room) for use in found.uses}
    plan = program.plan()
    for step in plan.steps:
        assert step.op not in ("activation", "output") or (step.name, "ring") in rooms
        assert not step.attrs.get("comparison") or (step.name, "window") in rooms
    text = str(found)
    assert text.splitlines()[0].split() == ["step", "room", "used", "bits", "left", "largest", "limit"]
    assert text.endswith("all samples have room") and "beyond" not in text
    # Calibrated on these very inputs with two bits of margin: no window is used by more than a quarter, or an eighth.
    # (In a max pooling, what it pads with takes half of each window.)
    windows = [use.share for use in found.uses if use.room == "window" and not use.step.startswith("_2.")]
    assert windows and max(windows) <= 0.26


def test_twice_the_input_is_twice_the_share_of_a_homogeneous_network():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3, bias=False)).eval()
    program = ar.compile(ar.transform(net, example_inputs=images()), images(8))
    one, two = program.headroom(images(8)), program.headroom(2 * images(8))
    for a, b in zip(one.uses, two.uses):
        assert a.room == "range" or b.share == pytest.approx(2 * a.share)


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_what_has_headroom_is_right_and_what_has_none_is_noticed(comparison):
    """Inputs from well inside to far beyond: wherever the answer is wrong, headroom had said so."""
    program = made(margin_bits=1, precision=0.002)
    x = images(12) * torch.logspace(-1, 3, 12).view(-1, 1, 1, 1)
    plan, numbers = program.native
    output = run(plan.with_comparison(comparison), numbers, x.double().numpy())[0].output
    exact = execute(program, x).numpy()
    right = np.abs(output - exact).max(1) < 0.02 * np.abs(exact).max(1) + 0.02
    room = (program.headroom(x).samples < 1).numpy()
    assert right[room].all() and room[:4].all() and not room[-1] and not right[-1]
    text = str(program.headroom(x))
    assert "<- beyond" in text and f"{int((~room).sum())} of 12 samples may be answered wrongly" in text


def test_what_a_max_pooling_pads_with_is_a_room_of_its_own():
    """An input that fits a filter exactly: values below the padding would be answered by it."""
    torch.manual_seed(5)
    conv = nn.Conv2d(1, 1, 16, stride=16, bias=False)
    conv.weight.data = torch.sign(torch.randn(1, 1, 16, 16)) / 16
    net, x = nn.Sequential(conv, nn.MaxPool2d(3, 2, 1)).eval(), torch.rand(32, 1, 64, 64) * 2 - 1
    program = ar.compile(ar.transform(net, example_inputs=x), x)
    plan = planned(program, x.double(), margins=Margins(2, 1))  # which knows of the examples alone
    fitting = torch.sign(conv.weight.data).repeat(1, 1, 4, 4)
    for k in (-1.0, -0.7, 0.7, 1.0):
        found = headroom(program, *plan, k * fitting)
        assert not found.fits and (found.samples >= 1).all()
        assert program.headroom(k * fitting).fits
    assert program.headroom(x).fits and "padding" in {use.room for use in program.headroom(x).uses}
