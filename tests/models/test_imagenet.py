"""A photograph, as large as ImageNet's networks see it, through a small network of their kind; and their own."""

import numpy as np
import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import MissingDependency
from autorep_fx.models import imagenet


@pytest.fixture(scope="module")
def picture():
    pytest.importorskip("PIL")
    from sklearn.datasets import load_sample_image

    return load_sample_image("flower.jpg")


class Gated(nn.Module):
    """ReLU6, a depthwise layer with SiLU, a gate (squeeze-and-excitation), and a softmax at the end."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.SiLU(), nn.Conv2d(4, 8, 1))
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        x = self.depthwise(self.stem(x))
        x = x * self.squeeze(x).sigmoid()
        return self.fc(x.mean((2, 3))).softmax(1)


def test_a_photograph_is_answered_privately(picture):
    torch.manual_seed(0)
    crops = torch.stack([*imagenet.crops(picture, 24)])
    model = Gated()
    model.train()(crops)
    model.eval()
    model.fc.weight.data *= 20
    gm = ar.transform(model, example_inputs=crops[:2])
    assert [site.activation.kind for site in ar.sites(gm).values()] == ["relu6", "silu", "silu", "sigmoid"]
    program = ar.compile(gm, crops)
    x = imagenet.centre(picture)[None]
    assert x.shape == (1, 3, 224, 224)
    result = program.run(x, check_range=False)
    with torch.no_grad():
        wanted = model(x)
    assert result.output.argmax() == wanted.argmax()
    torch.testing.assert_close(result.output, wanted, rtol=0, atol=0.02)


def test_crops_are_squares_of_the_picture(picture):
    one, again = (torch.stack([*imagenet.crops(picture, 4, seed=3)]) for _ in range(2))
    assert torch.equal(one, again) and one.shape == (4, 3, 224, 224) and one.abs().max() <= 1.01
    grey = np.full((300, 400, 3), 127, np.uint8)
    torch.testing.assert_close(imagenet.centre(grey), torch.zeros(3, 224, 224), rtol=0, atol=1e-5)
    assert len(imagenet.classes()) == 1000


def test_what_is_missing_is_said():
    try:
        import efficientnet_lite_pytorch  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependency, match=r"autorep-fx\[imagenet\]"):
            imagenet.efficientnet_lite0()
        return
    model = imagenet.efficientnet_lite0()
    assert len(ar.sites(ar.transform(model, example_inputs=torch.zeros(2, 3, 224, 224)))) == 33
