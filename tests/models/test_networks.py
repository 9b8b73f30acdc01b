import pytest
import torch

import autorep_fx as ar
from autorep_fx.models import resnet18, resnet_cifar, wide_resnet


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
