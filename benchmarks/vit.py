"""A trained vision transformer between two parties: with all its GELUs, and as a hybrid with a tenth of them.

    python benchmarks/vit.py [--config recipes/fashion_vit.toml] [--images 200] [--json FILE]

Trains what the recipe says, or takes it from the folder of its runs. Then all networks there answer test images
privately: how many get the class that the network gives them in plaintext, what one inference sends and takes, and what
plain PyTorch takes in the same run. One thread a party, processes of this machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from accuracy_over_cost import rows
from private_inference import machine, plain
from torch import Tensor, fx

import autorep_fx as ar
from autorep_fx.search.recipe import Experiment, Recipe

#: Training images to compile with; test images that are answered at once; and one after another, for the time.
EXAMPLES, TOGETHER, ALONE = 256, 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("recipes/fashion_vit.toml"))
    parser.add_argument("--out", type=Path, help="the folder of the runs; out/NAME of the recipe by default")
    parser.add_argument("--images", type=int, default=200, help="test images to answer privately")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    recipe = Recipe.read(args.config)
    experiment = Experiment(recipe, args.out or Path("out") / recipe.name)
    experiment.original()
    experiment.run(resume=True)
    torch.set_num_threads(1)
    x, test = experiment.train.normalized(slice(EXAMPLES)), experiment.test.normalized(slice(args.images))
    model = experiment.untrained().eval()
    print(f"{sum(p.numel() for p in model.parameters()):,} weights", flush=True)
    print("| | accuracy | activations | class as in plaintext | rounds | online, MB | offline, MB | online, ms "
          "| times plain fp32 | offline, ms | memory, MB | error of a score | compiled in, s |")  # fmt: skip
    print("|---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    found = {}
    for row in rows(experiment, dealer=True):
        fp32 = plain(model, test[:1], 20)["seconds"]
        found[row["run"]] = {"accuracy": row["accuracy"], "plain_fp32": fp32, **measured(row["network"], x, test)}
        print(shown(row["run"], found[row["run"]]), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "networks": found}, indent=1) + "\n")


def measured(network: fx.GraphModule, x: Tensor, test: Tensor) -> dict:
    start = time.perf_counter()
    program = ar.compile(network, x)
    compiled = time.perf_counter() - start
    with torch.no_grad():
        expected = network(test)
    with program.session() as session:
        output = torch.cat([session.run(part).output for part in test.split(TOGETHER)])
    with program.session() as session:  # whose memory is that of one inference
        results = [session.run(one[None]) for one in test[: 1 + ALONE]][1:]
    stats = results[-1].stats
    return {
        "activations": ar.relu_count(network),
        "images": len(test),
        "same_class": int((output.argmax(1) == expected.argmax(1)).sum()),
        "error": float((output - expected).abs().max() / expected.std()),
        "rounds": stats.online.rounds,
        "online_bytes": sum(stats.online.bytes_sent.values()),
        "offline_bytes": sum(stats.offline.bytes_sent.values()),
        "online_seconds": statistics.median(r.stats.online.seconds for r in results),
        "offline_seconds": statistics.median(r.stats.offline.seconds for r in results),
        "memory": max(stats.memory.values()),
        "compile_seconds": compiled,
    }


def shown(name: str, row: dict) -> str:
    cells = (
        name,
        f"{row['accuracy']:.2%}",
        f"{row['activations']:,}",
        f"{row['same_class']} of {row['images']}",
        str(row["rounds"]),
        f"{row['online_bytes'] / 1e6:.2f}",
        f"{row['offline_bytes'] / 1e6:.1f}",
        f"{1e3 * row['online_seconds']:.1f}",
        f"{row['online_seconds'] / row['plain_fp32']:.1f}",
        f"{1e3 * row['offline_seconds']:.1f}",
        f"{row['memory'] / 1e6:.0f}",
        f"{row['error']:.1%}",
        f"{row['compile_seconds']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
