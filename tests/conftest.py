import os

# For whatever a test starts, too. The tensors are small, and threads of OpenMP spin while they wait for each other:
# where something else wants a core, a training of ten seconds takes minutes. Tests of threads name their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

# A failure of `make test` is one of the change at hand, for everyone; `make test-random` looks for others.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def forked(monkeypatch):
    """CrypTen's parties are forks (forks.py), not new interpreters."""
    from multiprocessing import forkserver

    from forks import Fork

    from autorep_fx.secure.host import supervisor

    forkserver.ensure_running()  # before a test says where temporary files are
    monkeypatch.setattr(supervisor, "Interpreter", Fork)


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
