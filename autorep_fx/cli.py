"""Command line: ``python -m autorep_fx demo``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import AutorepError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code (2 for a mistake that the message explains, 130 for an interruption)."""
    parser = argparse.ArgumentParser(prog="autorep_fx", description="Private inference with few ReLUs.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the whole path on scikit-learn's digits: train, transform, answer privately")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the network and the report")
    demo.add_argument("--relu-budget", type=int, default=512, help="ReLUs per image that stay, of 8,192")
    demo.add_argument("--images", type=int, default=360, help="test images to answer privately, 1 to 360")
    demo.set_defaults(run=_demo)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return args.run(args)
    except (AutorepError, ValueError, FileNotFoundError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130


def _demo(args: argparse.Namespace) -> int:
    from . import demo

    if not 1 <= args.images <= 360:
        raise ValueError(f"--images must be 1 to 360, got {args.images}")
    rows, report = demo.run(args.out, args.relu_budget, args.images)
    print(demo.text(rows))
    print(f"\nReport: {report}")
    return 0
