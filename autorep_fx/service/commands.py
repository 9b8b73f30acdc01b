"""What the commands of three owners do: deal, serve, ask, who is refused, and certificates for trying."""

from __future__ import annotations

import contextlib
import datetime
import gc
import json
import logging
import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
import structlog

from .. import kernels
from ..arrays import read_array
from ..secure.cost.cost import quicker
from ..secure.files import load_published, load_served
from ..secure.host.memory import keep_memory
from ..secure.link.network import network_of
from ..secure.makers.table import maker_of
from ..secure.parties.weights import Weights
from ..secure.plan.plan import VARIANTS, node_of
from .addresses import address_of
from .certificates import make_certificates
from .client import Client
from .dealer import DealerService
from .metrics import Metrics, serve_http
from .options import Options
from .pool import check_store
from .published import Pictures, terms
from .refusals import FILE, refusals_in
from .server import ServerService
from .service import Service
from .settings import Ask, Deal, Listening, Party, Serve, read
from .table import at_server

T = TypeVar("T")

log = structlog.get_logger()


def add_options(parser: ArgumentParser, command: str) -> None:
    """The options of a command, and what it runs."""
    run, kind = {"deal": (deal, Deal), "serve": (serve, Serve), "ask": (ask, Ask),
                 "refused": (refused, None), "certificates": (certificates, None)}[command]  # fmt: skip
    parser.set_defaults(run=run)
    if kind is not None:
        _add_settings(parser, kind)
    if command == "ask":
        parser.add_argument(
            "inputs",
            type=Path,
            nargs="+",
            metavar="INPUT",
            help="pictures, or .npy arrays; of a program of several "
            "inputs one file for each, in the order of the model's arguments",
        )
        parser.add_argument("--json", action="store_true", help="print an object for each input, also for a bad one")
    if command == "refused":
        parser.add_argument("--state", type=Path, required=True, help="folder of the server or the dealer")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--list", action="store_true", help="print them, which is done in any case")
        what.add_argument("--clear", metavar="NAME", help="refuse this client no more")
        what.add_argument("--add", metavar="NAME", help="refuse this client by its name")
    if command == "certificates":
        parser.add_argument("names", nargs="+", metavar="NAME", help="such as server dealer alice")
        parser.add_argument("--out", type=Path, required=True, help="folder to write to")


def _add_settings(parser: ArgumentParser, kind: type[Party]) -> None:
    """An option for each setting, and ``--config``."""
    parser.add_argument("--config", type=Path, help="TOML file; the table of the command's name counts")
    for name, field in kind.model_fields.items():
        option, default = f"--{name.replace('_', '-')}", field.get_default()
        silent = field.is_required() or default in (None, False)
        text = field.description if silent else f"{field.description}; {default} if not given"
        if field.annotation is bool:
            parser.add_argument(option, action="store_true", default=None, help=text)
        else:
            kinds = [k for k in (get_args(field.annotation) or (field.annotation,)) if k is not type(None)]
            parser.add_argument(option, type=kinds[0], help=text)


def settings_of(kind: type[Party], args: Namespace) -> Any:
    return read(kind, {name: getattr(args, name) for name in kind.model_fields}, args.config)


def deal(args: Namespace) -> int:
    """Deal until SIGTERM."""
    s = settings_of(Deal, args)
    _set_up(s)
    plan = load_published(s.program).plan
    metrics = Metrics("dealer")
    service = DealerService(plan, s, metrics)
    return _run(service, s, metrics)


def serve(args: Namespace) -> int:
    """Serve until SIGTERM."""
    s = settings_of(Serve, args)
    check_store(s.state, s.disk)
    keep_memory()
    _set_up(s)
    public, numbers = load_served(s.program)
    plan, agreed = public.plan, terms(public.form, Pictures.load(s.program))
    network = network_of(s.network)
    maker = maker_of(s.dealer is not None, network)
    comparison = quicker(plan, network, 1, maker) if s.comparison == "auto" else s.comparison
    if comparison not in VARIANTS:
        raise ValueError(f"comparison must be fss, gmw, mixed or auto, got {comparison!r}")
    maker.check_comparison(comparison)
    maker.comparisons_of(plan)  # of a checked plan not every maker has any
    metrics, weights = Metrics("server"), Weights(plan.with_comparison(comparison), numbers)
    preparing = at_server(s.dealer is not None)(maker, plan, comparison, numbers, s)
    service = ServerService(plan, weights, preparing, s, metrics, agreed)
    return _run(service, s, metrics)


def ask(args: Namespace) -> int:
    """Ask about each input. One that cannot be asked about is named, and the others are answered; the exit code is 0
    only if all were.
    """
    s = settings_of(Ask, args)
    public, pictures = load_published(s.program), Pictures.load(s.program)
    told = {field.name: getattr(s, field.name) for field in fields(Options) if field.name in Ask.model_fields}
    options = Options(identity=s.identity(s.server, s.dealer), **told)
    shapes = [step.shape for step in public.plan.inputs]
    questions = _questions(args.inputs, [node_of(step.name) for step in public.plan.inputs])
    client, answered = None, 0
    with contextlib.ExitStack() as stack:
        for paths in questions:
            given = [_unless_bad((path,), args.json, partial(_input, path, pictures, shape))
                     for path, shape in zip(paths, shapes)]  # fmt: skip
            read = [x for x in given if x is not None]
            if len(read) < len(given):
                continue
            if client is None:  # there is something to ask about
                client = stack.enter_context(Client(public, options, pictures))
            result = _unless_bad(paths, args.json, partial(client.run, *read))
            if result is not None:
                answered += 1
                print(_answer(paths, result, client.headroom(*read).share, pictures, args.json), flush=True)
    bad = len(questions) - answered
    if bad and len(questions) > 1:
        print(f"{bad} of {len(questions)} inputs were not answered", file=sys.stderr)
    return 2 if bad else 0


def refused(args: Namespace) -> int:
    """List who is refused, or change it; services that run go by it from their next connection on."""
    if not (path := args.state / FILE).exists() and not args.add:
        raise FileNotFoundError(f"nobody was refused yet: there is no {path}")
    found = refusals_in(args.state)
    try:
        if args.clear:
            found.clear(args.clear)
        elif args.add:
            found.add(args.add)
        for line in found.lines():
            when = datetime.datetime.fromtimestamp(line.at).isoformat(" ", "seconds")
            of = f"inference {line.number} of session {line.session}" if line.session else "added by hand"
            print(f"{line.name}  {when}  {of}  certificate {line.fingerprint or 'none'}")
    finally:
        found.close()
    return 0


def certificates(args: Namespace) -> int:
    for path in make_certificates(args.out, args.names):
        print(path)
    return 0


def _set_up(s: Listening) -> None:
    """Logs, one JSON object a line, and threads."""
    said: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info]  # fmt: skip
    structlog.configure(
        processors=[*said, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )  # fmt: skip
    lines = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=said,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:  # the command line's: what the library says, as lines like these
            handler.setFormatter(lines)
    if kernels.available():
        kernels.set_num_threads(s.threads)


def _run(service: Service, s: Listening, metrics: Metrics) -> int:
    """Until SIGTERM or SIGINT; what runs then gets ``grace`` seconds to end."""
    http, closing = None, threading.Thread(target=service.close)
    if s.metrics is not None:
        http = serve_http(address_of(s.metrics), metrics, lambda: service.gate.open)
        log.info("metrics", at="{}:{}".format(*http.server_address))

    def stop(number: int, _: Any) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        with contextlib.suppress(RuntimeError):  # it is closing already
            closing.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    gc.freeze()  # no collection walks what stays to the end
    log.info("listening", at="{}:{}".format(*service.gate.address))
    service.run()
    closing.join()
    if http is not None:
        http.shutdown()
    log.info("stopped")
    return 0


def _input(path: Path, pictures: Pictures, shape: tuple[int, ...]) -> np.ndarray:
    """One sample, or the batch of an array.

    Raises:
        ValueError: it cannot be read; names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such input: {path}")
    if path.suffix != ".npy":
        return pictures.read(path, shape)[None]
    x = np.ascontiguousarray(read_array(path), np.float32)
    return x[None] if x.ndim == len(shape) else x


def _questions(paths: list[Path], names: list[str]) -> list[tuple[Path, ...]]:
    """The files of each inference.

    Raises:
        ValueError: they are not as many as the program's inputs, or a multiple of that.
    """
    if len(paths) % len(names):
        wanted = " ".join(name.upper() for name in names)
        raise ValueError(f"the program takes {len(names)} inputs ({', '.join(names)}), and {len(paths)} files were "
                         f"given: give {wanted}, and so on for each question")  # fmt: skip
    return [tuple(paths[i : i + len(names)]) for i in range(0, len(paths), len(names))]


def _named(paths: tuple[Path, ...]) -> str | list[str]:
    return str(paths[0]) if len(paths) == 1 else [*map(str, paths)]


def _unless_bad(paths: tuple[Path, ...], as_json: bool, work: Callable[[], T]) -> T | None:
    """What ``work`` gives; None where the input is to blame, which is said."""
    try:
        return work()
    except (ValueError, OSError) as error:
        text = str(error) if str(paths[0]) in str(error) else f"{' '.join(map(str, paths))}: {error}"
    print(f"autorep_fx: {text}", file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps({"input": _named(paths), "error": text}), flush=True)
    return None


def _classes(output: Any) -> list[int] | None:
    """Of rows of scores, and of what a model says of classes itself."""
    if not isinstance(output, np.ndarray) or output.ndim not in (1, 2):
        return None
    if output.ndim == 2:
        return output.argmax(1).tolist()
    return output.tolist() if output.dtype.kind == "i" else None


def _listed(output: Any) -> Any:
    """As JSON has it."""
    if isinstance(output, dict):
        return {name: _listed(each) for name, each in output.items()}
    if isinstance(output, (tuple, list)):
        return [_listed(each) for each in output]
    return output.tolist() if isinstance(output, np.ndarray) else output


def _answer(paths: tuple[Path, ...], result: Any, used: float, pictures: Pictures, as_json: bool) -> str:
    output, stats = result.output, result.stats
    classes = _classes(output)
    if classes is not None:
        labels = [pictures.labels[c] if c < len(pictures.labels) else str(c) for c in classes]
    else:
        labels = None
    if as_json:
        return json.dumps({"input": _named(paths), "output": _listed(output), "class": labels,
                           "seconds": stats.online.seconds, "rounds": stats.online.rounds,
                           "bytes": stats.online.bytes_sent, "range_used": used})  # fmt: skip
    said = ", ".join(labels) if labels is not None else str(output)
    return f"{' '.join(map(str, paths))}: {said} ({stats.online.seconds:.3f} s online, {stats.online.rounds} rounds)"
