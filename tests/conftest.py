import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# A failure of `make test` is one of the change at hand, for everyone; `make test-random` looks for others.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

for folder in ("", "search"):  # architectures.py, resumable.py
    sys.path.insert(0, str(Path(__file__).parent / folder))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def trained_digits():
    """A small residual network trained on scikit-learn's digits: (model in eval mode, train, test)."""
    import autorep_fx as ar
    from autorep_fx.models import ImageLoader, digits, resnet_cifar

    torch.manual_seed(0)
    train, test = digits()
    model = ar.transform(resnet_cifar(8, in_channels=1), example_inputs=train.normalized(slice(2)))
    ar.finetune(model, ImageLoader(train, 64, train=True, pad=1), epochs=8, lr=3e-3, progress=False)
    return model, train, test
