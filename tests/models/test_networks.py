import pytest
import torch

import autorep_fx as ar
from autorep_fx.models import resnet18, resnet_cifar, vit, wide_resnet


@pytest.mark.parametrize(
    "model,count",
    [(resnet18, 557_056), (resnet_cifar, 188_416), (wide_resnet, 1_392_640)],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_relu_counts_are_the_papers(model, count):
    gm = ar.transform(model(), example_inputs=torch.randn(1, 3, 32, 32))
    assert ar.relu_count(gm) == count
    if model is wide_resnet:  # the papers leave out the last site: 1,359K
        assert count - list(ar.sites(gm).values())[-1].total == 1_359_872


def test_depths_are_checked():
    with pytest.raises(ValueError, match="6n"):
        resnet_cifar(18)
    with pytest.raises(ValueError, match="6n"):
        wide_resnet(20)


def test_a_vision_transformer_has_a_gelu_for_each_token_and_channel_between():
    model = vit(patch=7, in_channels=1)
    assert sum(p.numel() for p in model.parameters()) == 454_858
    gm = ar.transform(model, example_inputs=torch.randn(1, 1, 28, 28))
    assert ar.relu_count(gm) == 4 * 16 * 4 * 96


def test_shapes_of_a_vision_transformer_are_checked():
    with pytest.raises(ValueError, match="size must be a multiple of patch, got 28 and 5"):
        vit(patch=5)
    with pytest.raises(ValueError, match="width must be a multiple of heads, got 96 and 5"):
        vit(heads=5)
