"""A short search with checkpoints, in a process of its own, too, so that a test can kill it."""

import torch

import autorep_fx as ar
from autorep_fx.models import ImageLoader, digits, resnet_cifar


def search(folder, resume: bool, method: str = "autorep"):
    """With one thread, so that sums are in the order of another process's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _search(folder, resume, method)
    finally:
        torch.set_num_threads(threads)


def _search(folder, resume, method):
    torch.manual_seed(0)
    train, test = digits()
    network = resnet_cifar(8, in_channels=1)
    gm = ar.transform(network)
    history = ar.search(
        gm, ImageLoader(train[:640], 64, train=True, pad=1), ImageLoader(test, 360), relu_budget=150, method=method,
        epochs=5, lr=3e-3, checkpoint_dir=folder, resume=resume, progress=False,
    )  # fmt: skip
    return gm, history
