"""Commands on a model: look at it, make it hybrid, compile it, ask what it costs and whether its data have moved."""

from __future__ import annotations

import importlib
import json
import os
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Callable
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, fx, nn

from . import models
from .arrays import read_array, read_tensor
from .errors import FormatError
from .hybrid.activation import sites
from .hybrid.serialize import is_saved, load, save
from .inspect import inspect, monitor, plan_budgets
from .onnx.convert import from_onnx
from .secure.compile import compile
from .secure.cost.cost import Cost
from .secure.secure_program import SecureProgram
from .service.published import Pictures, publish
from .settings import TransformSettings
from .settings.flags import add_flags, given
from .transform import transform

_MODEL = (
    "package.module:factory or a name of autorep_fx.models, with arguments as in JSON: 'resnet_cifar(20, 10, 1)'; or "
    "an ONNX file, which has its weights (extra: onnx)"
)
_PYTHON = "python -m autorep_fx"


def add_parsers(commands: _SubParsersAction) -> None:
    """A parser for each."""
    parser = _parser(commands, "inspect", inspect_model, "what a model's sites are, and what arrives there",
                     "inspect 'resnet_cifar(20)' --weights net.safetensors --examples x.npy --network wan "
                     "--html report.html")  # fmt: skip
    _add_model(parser)
    _add_inputs(parser, "--examples", "inputs, for distributions and shapes", required=False)
    parser.add_argument("--network", help="loopback, lan or wan: what each layer costs there (needs --examples)")
    _add_dealer(parser, "plan for runs with one, or for client and server alone")
    parser.add_argument("--budgets", action="store_true", help="with --html: what others would cost, with a slider")
    parser.add_argument("--html", type=Path, help="write the report as a page")
    parser.add_argument("--png", type=Path, help="write it as a picture")
    parser.add_argument("--site", help="whose fit and mask the picture shows")
    _add_json(parser)

    parser = _parser(commands, "transform", transform_model, "replace activations, within a budget",
                     "transform 'resnet_cifar(20)' --weights net.pt --calibration x.npy --relu-budget 3768 "
                     "--out net.safetensors")  # fmt: skip
    _add_model(parser)
    _add_inputs(parser, "--calibration", "typical inputs")
    parser.add_argument("--labels", type=Path, help=".npy array (N,) of their classes, or with --loss of targets")
    add_flags(parser, TransformSettings, without=("progress",))
    parser.add_argument("--out", type=Path, required=True, help="file for the hybrid network")
    _add_json(parser)

    parser = _parser(commands, "compile", compile_model, "compile a model into a program's folder",
                     "compile 'resnet_cifar(20)' --weights net.safetensors --examples x.npy --out dir\n"
                     f"  {_PYTHON} compile net.onnx --examples x.npy --out dir")  # fmt: skip
    _add_model(parser)
    _add_inputs(parser, "--examples", "typical inputs")
    parser.add_argument("--network", default="wan", help="what the plan is made for: loopback, lan or wan")
    _add_dealer(parser, "plan for runs with one, or for client and server alone")
    parser.add_argument("--checked", action="store_true",
                        help="check the messages of clients, so that one that deviates gets nothing")  # fmt: skip
    parser.add_argument("--clamp", action=BooleanOptionalAction,
                        help="clip inputs to their range in the protocol; where --checked if not given")  # fmt: skip
    parser.add_argument("--size", type=int, default=1, help="pictures: scale the shorter side to this first")
    parser.add_argument("--mean", type=float, nargs="+", default=[0.0], help="pictures: less this, values 0 to 1")
    parser.add_argument("--std", type=float, nargs="+", default=[1.0], help="pictures: then by this")
    parser.add_argument("--labels", type=Path, help="text file with the name of a class in each line")
    parser.add_argument("--out", type=Path, required=True, help="folder of the program")
    _add_json(parser)

    parser = _parser(commands, "cost", cost_of_program, "what a private inference of a program costs",
                     "cost program --network wan --batch 8")  # fmt: skip
    parser.add_argument("folder", type=Path, metavar="DIR", help="of the program")
    parser.add_argument("--network", default="lan", help="loopback, lan or wan")
    parser.add_argument("--comparison", default="auto", help="fss, gmw, mixed or auto")
    parser.add_argument("--batch", type=int, default=1, help="samples of an inference")
    _add_dealer(parser, "with one, or between client and server alone")
    parser.add_argument("--steps", action="store_true", help="print every step of the plan, too")
    _add_json(parser)

    parser = _parser(commands, "monitor", monitor_model, "whether data are still what polynomials were fitted to",
                     "monitor 'resnet_cifar(20)' --weights net.safetensors --examples now.npy")  # fmt: skip
    _add_model(parser)
    _add_inputs(parser, "--examples", "inputs as they come now")
    _add_inputs(parser, "--reference", "inputs as they were", required=False)
    _add_json(parser)

    parser = _parser(commands, "publish", publish_program, "the public part of a program, for clients and dealer",
                     "publish program --out public")  # fmt: skip
    parser.add_argument("folder", type=Path, metavar="DIR", help="of the program")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")


def inspect_model(args: Namespace) -> int:
    if args.budgets and (args.html is None or args.examples is None):
        raise ValueError("--budgets needs --html, to show them on, and --examples")
    x = None if args.examples is None else _inputs(args.examples)
    network = _network(args, x, random=True)
    report = inspect(network, x, network=args.network, dealer=args.dealer)
    if args.html is not None:
        report.to_html(args.html, plan=plan_budgets(network, x) if args.budgets and x is not None else None)
    if args.png is not None:
        report.plot(args.png, site=args.site)
    print(json.dumps(report.to_dict()) if args.json else report)
    return 0


def transform_model(args: Namespace) -> int:
    settings = TransformSettings(**given(args, TransformSettings.names()))
    x = _inputs(args.calibration)
    samples = x if isinstance(x, tuple) else (x,)
    labels = None if args.labels is None else _targets(args.labels, classes=settings.loss is None)
    gm = transform(_network(args, x), calibration=x if labels is None else (*samples, labels), settings=settings)
    save(gm, args.out)
    report = inspect(gm)
    print(json.dumps(report.to_dict()) if args.json else report)
    return 0


def compile_model(args: Namespace) -> int:
    labels = [] if args.labels is None else _text(args.labels).splitlines()
    pictures = Pictures(args.size, args.mean, args.std, labels)
    x = _inputs(args.examples)
    network = _network(args, x)
    if not _is_hybrid(network):
        one = x[:1] if isinstance(x, Tensor) else tuple(part[:1] for part in x)
        network = transform(network, example_inputs=one)
    program = compile(network, x, network=args.network, dealer=args.dealer, checked=args.checked,
                      clamp=args.clamp)  # fmt: skip
    program.save(args.out)
    pictures.save(args.out)
    _print_cost(program.cost(args.network, dealer=args.dealer), args)
    return 0


def cost_of_program(args: Namespace) -> int:
    program = SecureProgram.load(args.folder)
    if args.steps and not args.json:
        print(program.plan(comparison=args.comparison, network=args.network, dealer=args.dealer))
    cost = program.cost(args.network, comparison=args.comparison, batch=args.batch, dealer=args.dealer)
    _print_cost(cost, args)
    return 0


def monitor_model(args: Namespace) -> int:
    x = _inputs(args.examples)
    network = _network(args, x)
    if not _is_hybrid(network):
        raise ValueError(
            f"{args.weights or args.model} has no polynomials; give a file of autorep_fx.save, or of transform --out"
        )
    reference = None if args.reference is None else _inputs(args.reference)
    drift = monitor(network, x, reference=reference)
    print(json.dumps(drift.to_dict()) if args.json else drift)
    return 0


def publish_program(args: Namespace) -> int:
    publish(args.folder, args.out)
    print(f"{args.out}: the public part of {args.folder}; give it to clients and to the dealer")
    return 0


def _parser(
    commands: _SubParsersAction, name: str, run: Callable[[Namespace], int], text: str, example: str
) -> ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.",
                                 epilog=f"example:\n  {_PYTHON} {example}",
                                 formatter_class=RawDescriptionHelpFormatter)  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def _add_model(parser: ArgumentParser) -> None:
    parser.add_argument("model", help=_MODEL)
    parser.add_argument("--weights", type=Path, help="of autorep_fx.save, or a state_dict")


def _add_inputs(parser: ArgumentParser, name: str, what: str, required: bool = True) -> None:
    parser.add_argument(name, type=Path, action="append", required=required, metavar="FILE",
                        help=f".npy array (N, ...) of {what}; of a model of several inputs once for each")  # fmt: skip


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_dealer(parser: ArgumentParser, text: str) -> None:
    parser.add_argument("--dealer", action=BooleanOptionalAction, default=True, help=text)


def _print_cost(cost: Cost, args: Namespace) -> None:
    if not args.json:
        print(cost)
        return
    print(json.dumps({"comparison": cost.comparison, "maker": cost.maker, "rounds": cost.rounds,
                      "offline_rounds": cost.offline_rounds, "online_seconds": cost.online_seconds,
                      "offline_seconds": cost.offline_seconds, "online_bytes": cost.online,
                      "offline_bytes": cost.offline, "setup_bytes": cost.setup}))  # fmt: skip


def _targets(path: Path, classes: bool) -> Tensor:
    found = torch.from_numpy(read_array(path))
    if classes or not found.is_floating_point():
        return found.long()
    return found.float()


def _inputs(paths: list[Path]) -> Tensor | tuple[Tensor, ...]:
    """A batch, of a model of several inputs one for each."""
    parts = tuple(read_tensor(path) for path in paths)
    return parts if len(parts) > 1 else parts[0]


def _network(args: Namespace, x: Tensor | tuple[Tensor, ...] | None, random: bool = False) -> nn.Module:
    """The model with its weights: a hybrid network, if the file is one's.

    x: inputs like those that it is for, whose shape an ONNX file may leave open. random: whether it may have none.
    """
    of_file = args.model.endswith(".onnx")
    shapes = x.shape if isinstance(x, Tensor) else None if x is None else [part.shape for part in x]
    model = from_onnx(args.model, input_shapes=shapes) if of_file else _model(args.model)
    if args.weights is None:
        if not (of_file or random):
            raise ValueError("--weights is needed, a file of autorep_fx.save or a state_dict")
        return model.eval()
    if not args.weights.is_file():
        raise FileNotFoundError(f"no such weights: {args.weights}")
    state = None if is_saved(args.weights) else _state(args.weights)
    if state is None:
        return load(model, args.weights).eval()
    try:
        model.load_state_dict(state)
    except RuntimeError as mismatch:
        why = str(mismatch).splitlines()[-1].strip()
        raise FormatError(f"{args.weights} is of another model: {why}") from mismatch
    return model.eval()


def _is_hybrid(network: nn.Module) -> TypeGuard[fx.GraphModule]:
    return isinstance(network, fx.GraphModule) and bool(sites(network))


def _model(name: str) -> nn.Module:
    """``package.module:factory``, of the working directory, too, or a name of :mod:`autorep_fx.models`, each with
    arguments: ``resnet_cifar(20)``.
    """
    name, _, given = name.partition("(")
    module, _, attribute = name.rpartition(":")
    if module and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as of python -m, which the installed command does not do
    try:
        factory = getattr(importlib.import_module(module) if module else models, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"no model {name!r}: {error}; give package.module:factory, or a name of autorep_fx.models"
        ) from error
    try:
        arguments = json.loads(f"[{given.rstrip(')')}]") if given else []
    except ValueError:
        raise ValueError(f"the arguments of {name!r} are not numbers or strings as in JSON: ({given}") from None
    model = factory(*arguments)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name!r} gives a {type(model).__name__}, not a model")
    return model


def _state(path: Path) -> dict[str, Tensor] | None:
    """A state_dict: safetensors, or torch.save's, without running anything in it; None for neither."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError):
        pass
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  (whatever a file that is no such thing makes of it)
        return None
    return found if isinstance(found, dict) and all(isinstance(v, Tensor) for v in found.values()) else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text") from None
