"""Command line: the demos, searches, what is done to a model (commands.py), and the services (service/commands.py)."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import AutorepError, MissingDependency
from .settings import SearchSettings
from .settings.flags import Parser, add_flags, given

#: Commands of docs/deployment.md.
SERVICES = {
    "certificates": "make a small authority and certificates, for trying",
    "deal": "deal correlated randomness for a program",
    "serve": "answer clients with a program",
    "ask": "ask a server about inputs",
    "refused": "list the clients whose messages have not passed a check, and clear one",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code (2 for a mistake that the message explains, 130 for an interruption)."""
    parser = Parser(prog="autorep_fx", description="Private inference with few ReLUs.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="the whole path on scikit-learn's digits: train, transform, answer privately"
    )
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the network and the report")
    demo.add_argument("--relu-budget", type=int, default=512, help="ReLUs per image that stay, of 8,192")
    demo.add_argument("--latency-ms", type=float, default=250.0, help="what a second network may take over a WAN")
    demo.add_argument("--images", type=int, default=360, help="test images to answer privately, 1 to 360")
    demo.set_defaults(run=_demo)
    imagenet = commands.add_parser(
        "demo-imagenet", help="EfficientNet-Lite0 on photographs, in plaintext and privately (extra: imagenet)"
    )
    imagenet.add_argument("--out", type=Path, default=Path("out/imagenet"), help="folder for the picture")
    imagenet.set_defaults(run=_demo_imagenet)
    _add_search(commands)
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    wanted = argv[0] if argv else ""
    try:
        if wanted not in (*SERVICES, "--version"):  # which need no torch, and shall not wait for it
            from .commands import add_parsers

            add_parsers(commands)
        _add_services(commands, wanted)
        args = parser.parse_args(argv)
        return args.run(args)
    except (AutorepError, ValueError, FileNotFoundError, FileExistsError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print(f"{parser.prog}: interrupted{f': {stopped}' if str(stopped) else ''}", file=sys.stderr)
        return 130


def _add_search(commands: argparse._SubParsersAction) -> None:
    search = commands.add_parser("search", help="learn masks as a recipe says")
    search.add_argument("--config", type=Path, required=True, help="a recipe, such as recipes/fashion_resnet20.toml")
    search.add_argument(
        "--out", type=Path, help="folder for everything that is kept; out/NAME of the recipe by default"
    )
    search.add_argument("--data", type=Path, help="folder of the data, in place of the recipe's")
    search.add_argument("--resume", action="store_true", help="go on from what is in --out")
    group = search.add_argument_group(
        "[search]",
        "In place of those in the recipe's [search]; a limit takes the place of every limit there, and none is None.",
    )
    group.add_argument("--batch-size", type=int, default=argparse.SUPPRESS, metavar="N", help="samples of a step")
    group.add_argument("--samples", type=int, default=argparse.SUPPRESS, metavar="N", help="samples of an epoch")
    group.add_argument("--method", default=argparse.SUPPRESS, metavar="TEXT",
                       help="autorep, snl, or one_shot (a one-shot budget, then the same fine-tuning)")  # fmt: skip
    add_flags(group, SearchSettings, without=("method", "checkpoint_dir", "resume", "progress"))
    search.set_defaults(run=_search)


def _add_services(commands: argparse._SubParsersAction, wanted: str) -> None:
    """Parsers of the services' commands; only the one that is wanted gets its options, as they need the extra."""
    for name, text in SERVICES.items():
        parser = commands.add_parser(name, help=text)
        if name == wanted:
            try:
                from .service.commands import add_options
            except ImportError as error:
                raise MissingDependency(f"{name} needs {error.name}: pip install 'autorep-fx[service]'") from error
            add_options(parser, name)


def _demo(args: argparse.Namespace) -> int:
    from . import demo

    if not 1 <= args.images <= 360:
        raise ValueError(f"--images must be 1 to 360, got {args.images}")
    try:
        rows, report = demo.run(args.out, args.relu_budget, args.latency_ms, args.images)
    except KeyboardInterrupt:
        kept = f"with the network in {args.out}, if it was trained already"
        print(f"autorep_fx: interrupted; the same command begins anew, {kept}", file=sys.stderr)
        return 130
    print(demo.text(rows))
    print(f"\nReport: {report}")
    return 0


def _demo_imagenet(args: argparse.Namespace) -> int:
    from . import demo, demo_imagenet

    tables, picture = demo_imagenet.run(args.out)
    print("\n\n".join(map(demo.text, tables)))
    print(f"\nPicture: {picture}")
    return 0


def _search(args: argparse.Namespace) -> int:
    from .search.recipe import Experiment, Recipe
    from .search.tables import BATCHES

    recipe = Recipe.read(args.config, args.data)
    folder = args.out or Path("out") / recipe.name
    told = given(args, {*SearchSettings.names(), *BATCHES} - {"resume"})
    try:
        outcome = Experiment(recipe, folder).run(resume=args.resume, **told)
    except KeyboardInterrupt:
        text = f"autorep_fx: interrupted; the same command with --resume goes on from what is in {folder}"
        print(text, file=sys.stderr)
        return 130
    print(f"{outcome.method}, {outcome.relus:,} ReLUs, seed {outcome.seed}: accuracy {outcome.accuracy:.2%} "
          f"(original: {outcome.original_accuracy:.2%})")  # fmt: skip
    return 0
