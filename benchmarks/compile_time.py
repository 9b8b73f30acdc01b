"""How long `compile`, `transform` and limits take, in CPU time of one thread, over one plain float32 pass.

    python benchmarks/compile_time.py                 # all rows, in one process; some minutes
    python benchmarks/compile_time.py resnet18 slow   # some

Ratios within one process are what counts: a machine that does something else makes both longer. timm's networks are
rows where timm is installed.
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.models import ImageLoader, digits, resnet18, resnet_cifar

PASSES = 5


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.no_grad()
def plain(model: nn.Module, x: Tensor) -> float:
    """The quickest of some passes."""
    return min(seconds(lambda: model(x)) for _ in range(PASSES))


def trained(model: nn.Module, batch: int, steps: int) -> tuple[nn.Module, Tensor]:
    """After some steps on digits of 32 x 32, and examples: what is not trained at all has no classes to keep."""
    torch.manual_seed(0)
    images, _ = digits(size=32)
    optimizer = torch.optim.Adam(model.train().parameters(), 1e-3)
    for (x, labels), _ in zip(ImageLoader(images, batch, train=True), range(steps)):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    return model.eval(), images.normalized(slice(1000, 1032))


def compiled(model: nn.Module, x: Tensor) -> str:
    gm = ar.transform(model, example_inputs=x[:2], progress=False)
    took = seconds(lambda: ar.compile(gm, x, progress=False))
    return f"compile {took:7.2f} s, {took / plain(model, x):6.1f} plain passes of {len(x)} examples"


def of_timm(name: str, examples: int) -> str:
    import timm

    torch.manual_seed(0)
    return compiled(timm.create_model(name).eval(), torch.rand(examples, 3, 224, 224))


class Chain(nn.Module):
    """60 blocks of a convolution and three element-wise nodes, as converters write them: 363 nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(60))
        for i in range(120):
            self.register_buffer(f"c{i}", torch.rand(1))

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = torch.relu(torch.add(torch.mul(conv(x), getattr(self, f"c{2 * i}")), getattr(self, f"c{2 * i + 1}")))
        return x.mean((2, 3))


def slow() -> str:
    ar.transform(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), progress=False)  # whatever a first call does
    return f"transform of 363 nodes {seconds(lambda: ar.transform(Chain().eval(), progress=False)):7.2f} s"


def limits() -> str:
    model, x = trained(resnet_cifar(20, in_channels=1), 64, 20)
    took = seconds(lambda: ar.transform(model, calibration=x, latency_ms=300, network="wan", progress=False))
    return f"latency_ms of ResNet-20 {took:7.2f} s, {took / plain(model, x):6.1f} plain passes of {len(x)} examples"


ROWS: dict[str, Callable[[], str]] = {
    "resnet18": lambda: compiled(*trained(resnet18(in_channels=1), 32, 25)),
    "slow": slow,
    "limits": limits,
    "efficientnet_b0": lambda: of_timm("efficientnet_b0", 32),
    "vgg11_bn": lambda: of_timm("vgg11_bn", 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], default=[*ROWS])
    torch.set_num_threads(1)
    one = torch.ones((), requires_grad=True)
    torch.autograd.grad(2 * one, one)  # what torch imports once is no part of it
    for name in parser.parse_args().rows:
        torch.manual_seed(4)  # with which lines alone are below the limit
        try:
            print(f"{name:16} {ROWS[name]()}", flush=True)
        except ImportError as error:
            print(f"{name:16} {error}", flush=True)


if __name__ == "__main__":
    main()
