"""Accuracy over milliseconds and megabytes: what the networks of a folder of runs cost by their plans, and measured.

    python benchmarks/accuracy_over_cost.py --config recipes/fashion_resnet20.toml --json costs.json --plot costs.png

The folder is that of ``benchmarks/accuracy.py`` and of ``python -m autorep_fx search``. Each network is planned for a
WAN and a LAN; ``--measure`` runs so many of each curve, spread over it, and the original, privately over both. Rows
that the file of ``--json`` has already stay in it; with ``--runs`` those of all other runs do, which are not looked at.
``--html`` writes the report of one of them (``--run``), with what other budgets would cost and what all of these
reached. ``--no-dealer``: the same for two parties alone, of the runs whose limits are theirs (``search --no-dealer``)
and of those under a count.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from matplotlib.figure import Figure

import autorep_fx as ar
from autorep_fx.search.recipe import Experiment, Recipe

SHAPES = ("wan", "lan")
EXAMPLES, REPEATS, AGREE = 256, 5, 200
FAR = 0.1  # of the best accuracy
CURVES = {"original": "all ReLUs", "one_shot": "one-shot budget", "snl": "SNL", "autorep": "AutoReP",
          "one_shot_limit": "one-shot, three forms", "autorep_limit": "AutoReP, three forms"}  # fmt: skip
AXES = {"wan_ms": "milliseconds on the WAN", "lan_ms": "milliseconds on the LAN", "offline_mb": "megabytes offline"}
ALONE = {"wan_ms": "milliseconds online, on the WAN", "wan_offline_s": "seconds offline, on the WAN",
         "offline_mb": "megabytes offline, on the WAN"}  # fmt: skip


def curve(outcome: dict) -> str:
    return outcome["method"] if outcome["relu_budget"] is not None else f"{outcome['method']}_limit"


def rows(experiment: Experiment, dealer: bool, runs: list[str] | None = None) -> list[dict]:
    """What each network reached, and where it is; the original first. dealer: whose prices its limits were in.

    runs: names of those that are wanted, "original" among them; None for all.

    Raises:
        ValueError: a name of ``runs`` is that of no run there.
    """
    found = []
    if runs is None or "original" in runs:
        original, accuracy = experiment.original()
        found.append({"curve": "original", "run": "original", "accuracy": accuracy, "relus": ar.relu_count(original),
                      "network": original})  # fmt: skip
    for path in sorted(experiment.folder.glob("*/outcome.json")):
        if runs is not None and path.parent.name not in runs:
            continue
        outcome = json.loads(path.read_text())
        if outcome["relu_budget"] is None and outcome["options"].get("dealer", True) != dealer:
            continue
        network = ar.load(experiment.untrained(), path.parent / "hybrid.safetensors").eval()
        found.append({"curve": curve(outcome), "run": path.parent.name, "accuracy": outcome["accuracy"],
                      "relus": outcome["relus"], "network": network})  # fmt: skip
    if missing := {*(runs or ())} - {row["run"] for row in found}:
        raise ValueError(f"no run in {experiment.folder} is called {', '.join(sorted(missing))}, or its limits were of "
                         f"parties {'without' if dealer else 'with'} a dealer")  # fmt: skip
    return found


def cost(row: dict, x: torch.Tensor, dealer: bool) -> dict[str, ar.SecureProgram]:
    """Adds what its plans predict; the programs, by shape."""
    programs = {shape: ar.compile(row["network"], x, network=shape, dealer=dealer) for shape in SHAPES}
    for shape, program in programs.items():
        found = program.cost(shape, dealer=dealer)
        row |= {f"{shape}_ms": 1e3 * found.online_seconds, f"{shape}_rounds": found.rounds,
                f"{shape}_online_mb": sum(found.online.values()) / 1e6,
                f"{shape}_offline_mb": sum(found.offline.values()) / 1e6,
                f"{shape}_offline_s": found.offline_seconds}  # fmt: skip
    row["offline_mb"] = row["wan_offline_mb"]
    row["lines"] = sum(site.lines for site in ar.sites(row["network"]).values())
    return programs


def measure(row: dict, programs: dict[str, ar.SecureProgram], x: torch.Tensor, dealer: bool) -> None:
    """Adds measured milliseconds of both phases, and how many classes are those of the float network."""
    for shape, program in programs.items():
        row |= timed(program, shape, x, dealer)
    row["same_class"] = same_class(row["network"], programs["lan"], x, dealer)


def timed(program: ar.SecureProgram, shape: str, x: torch.Tensor, dealer: bool) -> dict[str, float]:
    """Medians of some inferences, behind one that warms the parties up."""
    with program.session(network=shape, dealer=dealer) as session:
        session.run(x[:1])
        stats = [session.run(x[i : i + 1]).stats for i in range(REPEATS)]
    return {f"{shape}_measured_ms": 1e3 * statistics.median(s.online.seconds for s in stats),
            f"{shape}_measured_offline_s": statistics.median(s.offline.seconds for s in stats)}  # fmt: skip


def same_class(network: torch.nn.Module, program: ar.SecureProgram, x: torch.Tensor, dealer: bool) -> float:
    with torch.no_grad():
        expected = network(x[:AGREE]).argmax(1)
    return float((agreed(program, x, dealer).argmax(1) == expected).double().mean())


def agreed(program: ar.SecureProgram, x: torch.Tensor, dealer: bool) -> torch.Tensor:
    """Private outputs; without a dealer a few images at a time, for what two parties prepare takes memory."""
    if dealer:
        return program.run(x[:AGREE]).output
    with program.session(dealer=False) as session:
        return torch.cat([session.run(part).output for part in x[:AGREE].split(10)])


def chosen(found: list[dict], count: int) -> list[dict]:
    """The original, and so many of each curve from one end to the other; one seed of each."""
    picked = []
    for name in CURVES:
        points = sorted((r for r in found if r["curve"] == name and r["run"].endswith(("-0", "original"))),
                        key=lambda r: r["wan_ms"])  # fmt: skip
        steps = min(count, len(points))
        picked += [points[round(i * (len(points) - 1) / max(steps - 1, 1))] for i in range(steps)]
    return picked


def merged(found: list[dict], path: Path) -> list[dict]:
    """With the rows of an earlier call whose runs are not in the folder any more: accuracy stays what it was."""
    earlier = json.loads(path.read_text()) if path.exists() else []
    return found + [row for row in earlier if row["run"] not in {r["run"] for r in found}]


def table(found: list[dict], dealer: bool) -> str:
    head = ["", "run", "accuracy", "ReLUs", "lines", "rounds", "WAN, ms", "measured", "LAN, ms", "measured",
            "offline, MB", "same class"]  # fmt: skip
    if not dealer:
        head[-1:-1] = ["offline on the WAN, s", "measured", "offline on the LAN, MB", "s", "measured"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in sorted(found, key=lambda r: (list(CURVES).index(r["curve"]), -r["relus"])):
        measured = [f"{row[key]:,.4g}" if key in row else "" for key in ("wan_measured_ms", "lan_measured_ms")]
        same = f"{row['same_class']:.1%}" if "same_class" in row else ""
        if not dealer:
            taken = [f"{row[key]:.3g}" if key in row else ""
                     for key in ("wan_offline_s", "wan_measured_offline_s", "lan_offline_mb", "lan_offline_s",
                                 "lan_measured_offline_s")]  # fmt: skip
            same = " | ".join([*taken, same])
        lines.append(f"| {CURVES[row['curve']]} | {row['run']} | {row['accuracy']:.2%} | {row['relus']:,} | "
                     f"{row['lines']:,} | {row['wan_rounds']} | {row['wan_ms']:,.4g} | {measured[0]} | "
                     f"{row['lan_ms']:,.4g} | {measured[1]} | {row['offline_mb']:,.3g} | {same} |")  # fmt: skip
    return "\n".join(lines)


def page(found: list[dict], run: str, experiment: Experiment, path: Path) -> None:
    """The report of one run beside the others."""
    labelled = (experiment.train.normalized(slice(EXAMPLES)), experiment.train.labels[:EXAMPLES])
    plan = ar.plan_budgets(experiment.original()[0], labelled)
    for row in found:
        plan.reach(row["run"], row["network"], row["accuracy"])
    network = next(row["network"] for row in found if row["run"] == run)
    title = f"{experiment.recipe.name}, {run}"
    ar.inspect(network, labelled[0], network=SHAPES[0]).to_html(path, title=title, plan=plan)


def plot(found: list[dict], path: Path, title: str, axes_of: dict[str, str]) -> None:
    """Without those that are far below all others."""
    found = [row for row in found if row["accuracy"] > max(r["accuracy"] for r in found) - FAR]
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    for axes, (key, label) in zip(figure.subplots(1, 3, sharey=True), axes_of.items()):
        for name, text in CURVES.items():
            points = sorted((r[key], 100 * r["accuracy"]) for r in found if r["curve"] == name)
            if points:
                style = "*" if name == "original" else "o"
                axes.plot(*zip(*points), style, label=text, alpha=0.8)
        axes.set(xscale="log", xlabel=label)
        for formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            formatter("{x:g}")
        axes.tick_params(axis="x", which="both", labelsize=8)
        axes.grid(alpha=0.3)
    figure.axes[0].set(ylabel="test accuracy in %")
    figure.axes[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="the folder of the runs; out/NAME of the recipe by default")
    parser.add_argument("--measure", type=int, default=0, help="points of each curve that are run privately")
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="only these, by the names of their folders")
    parser.add_argument("--no-dealer", dest="dealer", action="store_false", help="two parties and nobody else")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--html", type=Path)
    parser.add_argument("--run", default="original", help="folder of the run that --html is about")
    args = parser.parse_args()
    recipe = Recipe.read(args.config)
    experiment = Experiment(recipe, args.out or Path("out") / recipe.name)
    x, test = experiment.train.normalized(slice(EXAMPLES)), experiment.test.normalized(slice(AGREE))
    found = rows(experiment, args.dealer, args.runs)
    programs = {row["run"]: cost(row, x, args.dealer) for row in found}
    if args.measure:
        torch.set_num_threads(1)
        for row in chosen(found, args.measure):
            measure(row, programs[row["run"]], test, args.dealer)
            print(row["run"], {key: value for key, value in row.items() if key != "network"}, flush=True)
    if args.html:
        page(found, args.run, experiment, args.html)
    for row in found:
        del row["network"]
    if args.json:
        found = merged(found, args.json)
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found, args.dealer))
    if args.plot:
        plot(found, args.plot, recipe.name, AXES if args.dealer else ALONE)


if __name__ == "__main__":
    main()
