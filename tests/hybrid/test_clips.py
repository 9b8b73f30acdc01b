"""ReLU6 whose upper clip hardly acts."""

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationError


def model(scales=(1.0, 20.0)):
    torch.manual_seed(0)
    net = nn.Sequential()
    for i, scale in enumerate(scales):
        conv = nn.Conv2d(3, 3, 1, bias=False)
        conv.weight.data = scale * torch.eye(3)[:, :, None, None]
        net.append(conv)
        net.append(nn.ReLU6(inplace=bool(i)))
    return net.append(nn.ReLU()).eval()


@pytest.fixture
def x():
    return torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_rates_are_counted_exactly(x):
    gm = ar.transform(model(), calibration=[x[:40], x[40:]])
    assert ar.clip_rates(gm) == {"1": 0.0, "3": float((20 * x > 6).double().mean())}


def test_what_hardly_clips_becomes_relu(x, tmp_path):
    net = model()
    gm = ar.transform(net, calibration=x).train()
    assert ar.simplify_clips(gm) == {"1": 0.0}
    assert [site.activation.kind for site in ar.sites(gm).values()] == ["relu", "relu6", "relu"]
    assert torch.equal(gm.eval()(x), net(x)) and gm(8 + x).max() == 6
    ar.save(gm, tmp_path / "model")
    again = ar.load(net, tmp_path / "model")
    assert [site.activation.kind for site in ar.sites(again).values()] == ["relu", "relu6", "relu"]
    assert [s.attrs["kind"] for s in ar.compile(again, x).steps if s.op == "hybrid"] == ["relu", "relu6", "relu"]
    assert ar.simplify_clips(gm, 1.0).keys() == {"3"} and ar.simplify_clips(gm, 1.0) == {}


def test_what_was_not_calibrated_is_said(x):
    gm = ar.transform(model(), example_inputs=x)
    with pytest.raises(CalibrationError, match="site '1' is not known"):
        ar.simplify_clips(gm)
    with pytest.raises(ValueError, match="at_most"):
        ar.simplify_clips(gm, -0.1)


def test_the_report_says_how_often(x, tmp_path):
    report = ar.inspect(ar.transform(model(), calibration=x))
    rate = float((20 * x > 6).double().mean())
    assert "relu6 (0%)" in str(report) and f"relu6 ({rate:.0%})" in str(report) and "simplify_clips" in str(report)
    assert report.to_dict()["sites"][1]["input"]["above 6"] == rate
    assert f"{rate:.0%} of it above 6" in report.to_html(tmp_path / "report.html").read_text()
    assert "above 6" not in str(ar.inspect(ar.transform(nn.Sequential(nn.ReLU()), calibration=x)))
