"""Large networks at 224x224 between two parties: seconds, megabytes, rounds, and memory of each party.

    python benchmarks/large_networks.py [--only NAME ...] [--comparison auto|fss|gmw]

Architectures of torchvision with random weights and batch statistics of photographs (needs torchvision and the extra
`imagenet`; an environment of its own is best). All activations are kept, batch 1, one thread a party.
"""

from __future__ import annotations

import argparse
import json
import warnings

import torch

import autorep_fx as ar
from autorep_fx.models import imagenet

NAMES = ("mobilenet_v3_large", "efficientnet_b0", "efficientnet_b2", "resnet50")


def measure(name: str, comparison: str) -> dict:
    import torchvision

    torch.manual_seed(0)
    pictures = imagenet.photographs().values()
    x = torch.stack([crop for picture in pictures for crop in imagenet.crops(picture, 4)])
    model = settled(torchvision.models.get_model(name, weights=None), x)
    gm = ar.transform(model, example_inputs=x[:1])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        program = ar.compile(gm, x, max_error=1.0)
    with torch.no_grad():
        plain = model(x[:3])
    with program.session(comparison=comparison, timeout=900) as session:
        results = [session.run(one[None]) for one in x[:3]]
    output = torch.cat([r.output for r in results])
    stats = results[-1].stats
    spread = float((plain - plain[0]).abs().max())
    return {
        "name": name,
        "activations": ar.relu_count(gm),
        "offline seconds": round(sorted(r.stats.offline.seconds for r in results)[1], 2),
        "online seconds": round(sorted(r.stats.online.seconds for r in results)[1], 2),
        "rounds": stats.online.rounds,
        "online MB": round(sum(stats.online.bytes_sent.values()) / 1e6),
        "offline MB": round(sum(stats.offline.bytes_sent.values()) / 1e6),
        "memory MB": {party: round(size / 1e6) for party, size in stats.memory.items()},
        "error of a logit": float((output - plain).abs().max()),
        "logits of samples differ by": spread,
        "same class": int((output.argmax(1) == plain.argmax(1)).sum()),
        "told": [str(w.message)[:120] for w in told],
    }


def settled(model: torch.nn.Module, x: torch.Tensor) -> torch.nn.Module:
    """With batch statistics that are those of the inputs, as a trained network's are."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=NAMES)
    parser.add_argument("--comparison", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(2)
    for name in options.only:
        print(json.dumps(measure(name, options.comparison)), flush=True)


if __name__ == "__main__":
    main()
