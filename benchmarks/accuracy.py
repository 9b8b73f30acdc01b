"""Accuracy over ReLUs of one recipe: one-shot, SNL and AutoReP with the same epochs, several budgets and seeds.

    python benchmarks/accuracy.py --config recipes/fashion_resnet20.toml --budgets 18842 9421 3768 1884 --seeds 0 1

Finished runs are not repeated, and one that was interrupted goes on from its last epoch. Prints the table in Markdown;
``--json`` and ``--plot`` write the numbers and the picture.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure

from autorep_fx.search.recipe import Experiment, Outcome, Recipe

METHODS = {"one_shot": "one-shot budget", "snl": "SNL", "autorep": "AutoReP"}


def table(outcomes: list[Outcome]) -> str:
    """Mean and spread (largest minus smallest) of the accuracy, a row for each budget."""
    lines = ["| ReLUs | " + " | ".join(METHODS.values()) + " |", "|---" * (len(METHODS) + 1) + "|"]
    for budget in sorted({o.relu_budget for o in outcomes}, reverse=True):
        cells = []
        for method in METHODS:
            values = [o.accuracy for o in outcomes if o.relu_budget == budget and o.method == method]
            spread = f" ± {(max(values) - min(values)) / 2:.2%}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.2%}{spread}" if values else "")
        lines.append(f"| {budget:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(outcomes: list[Outcome], path: Path, title: str) -> None:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for method, label in METHODS.items():
        budgets = sorted({o.relu_budget for o in outcomes if o.method == method})
        values = [[100 * o.accuracy for o in outcomes if (o.relu_budget, o.method) == (b, method)] for b in budgets]
        means = [statistics.mean(v) for v in values]
        errors = [[m - min(v) for m, v in zip(means, values)], [max(v) - m for m, v in zip(means, values)]]
        axes.errorbar(budgets, means, errors, label=label, marker="o", capsize=3)
    axes.axhline(100 * outcomes[0].original_accuracy, color="gray", linestyle="--", label="all ReLUs")
    axes.set(xscale="log", xlabel="ReLUs per image", ylabel="test accuracy in %", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--budgets", type=int, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    recipe = Recipe.read(args.config)
    experiment = Experiment(recipe, args.out or Path("out") / recipe.name)
    outcomes = []
    for seed in args.seeds:
        for budget in args.budgets:
            for method in args.methods:
                outcomes.append(experiment.run(resume=True, method=method, relu_budget=budget, seed=seed))
                o = outcomes[-1]
                print(f"{method} {budget:,} seed {seed}: {o.accuracy:.2%} of {o.original_accuracy:.2%}", flush=True)
    print(table(outcomes))
    if args.json:
        args.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    if args.plot:
        plot(outcomes, args.plot, recipe.name)


if __name__ == "__main__":
    main()
