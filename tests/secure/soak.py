#!/usr/bin/env python3
"""Private sessions again and again, each with new processes, for what goes wrong once in a thousand of them.

Two networks take turns: a small one at odd shapes, and one like AlexNet on 224x224 images. Each session answers a
batch of one and a batch of three, with comparison keys or bit-sliced comparison and one or two threads a party, in
turn. Every answer is held against the plaintext network. It ends at the first failure, with what the party said.
"""

import argparse
import itertools
import logging
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import autorep_fx as ar

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from networks import replace


def alexnet(classes=10, hidden=512):
    """AlexNet with a smaller classifier, which is most of its memory and none of its comparisons."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Flatten(), nn.Linear(256 * 6 * 6, hidden), nn.ReLU(), nn.Linear(hidden, classes),
    )  # fmt: skip


def odd():
    """Sizes that are no multiple of any vector's length, and the operations that AlexNet lacks."""
    return nn.Sequential(
        nn.Conv2d(3, 33, 3, padding=1), nn.ReLU6(), nn.Conv2d(33, 33, 3, padding=1, groups=33), nn.LeakyReLU(0.1),
        nn.Conv2d(33, 35, 3, stride=2, padding=1), nn.BatchNorm2d(35), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(35, 37, 3, padding=2, dilation=2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(37 * 2 * 3, 5),
    )  # fmt: skip


NETWORKS = {"small": (odd, (17, 21)), "large": (alexnet, (224, 224))}


class Case:
    """A network with half of its activations replaced, compiled, and its inputs with their answers."""

    def __init__(self, name):
        torch.manual_seed(0)
        model, size = NETWORKS[name]
        x = torch.randn(3, 3, *size)
        self.name, self.gm = name, replace(ar.transform(model().eval(), example_inputs=x), 0.5)
        # Random weights tell samples hardly apart, so errors are a large part of their differences.
        self.program = ar.compile(self.gm, x, max_error=1.0)
        self.inputs = x[:1], x
        with torch.no_grad():
            self.answers = [self.gm(batch) for batch in self.inputs]

    def session(self, comparison, threads):
        # Long, because a soak runs at low priority beside other work.
        with self.program.session(comparison=comparison, threads=threads, timeout=1800) as session:
            for x, want in zip(self.inputs, self.answers, strict=True):
                got = session.run(x).output
                np.testing.assert_allclose(got, want, rtol=0, atol=0.02 + 0.02 * float(want.abs().max()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=[*NETWORKS, "both"], default="both")
    parser.add_argument("--sessions", type=int, help="stop after so many")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    options = parser.parse_args()
    logging.basicConfig()
    names = list(NETWORKS) if options.network == "both" else [options.network]
    cases = [Case(name) for name in names]
    start = time.monotonic()
    for done, (case, *how) in enumerate(itertools.cycle(itertools.product(cases, ("fss", "gmw"), (1, 2)))):
        seconds = time.monotonic() - start
        print(f"\r{done} sessions passed in {seconds:.0f} s", end="", flush=True)
        if done == options.sessions or options.seconds is not None and seconds > options.seconds:
            print()
            return
        try:
            case.session(*how)
        except BaseException:
            print(f"\nsession {done + 1} failed: {case.name}, {how}")
            raise


if __name__ == "__main__":
    main()
