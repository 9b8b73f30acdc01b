"""What it costs two to make correlations."""

from __future__ import annotations

import numpy as np

from ...link.message import HEADER_BYTES
from ...link.network import Network
from ...plan.plan import Plan, Step
from ...rates import Rates
from ..maker import Offline, StepOffline
from . import maps
from .half import Extension, Job, parts, waits
from .model import widths
from .ot import Kind, Said
from .table import MAKING
from .turns import words_together

_WORD = 8


def offline(plan: Plan, batch: int, network: Network, rates: Rates, extension: Extension) -> Offline:
    """See :meth:`~..maker.Maker.offline`."""
    steps = {step.name: StepOffline() for step in plan.steps}
    beside = {"server": Said(1), "client": Said()}  # "ready"
    rounds, made, on_the_way = 3, 0, 0  # ciphertexts, answers, what they are for
    for step in plan.steps:
        if step.op == "map":
            steps[step.name] = _map(step, batch, rates)
            on_the_way += sum(steps[step.name].sent.values())
    masked = [Job(0, index, step, np.empty(0)) for index, step in enumerate(plan.steps) if step.masked]
    for part in parts(masked, batch, extension.at_once):
        counts = [MAKING[job.step.op].transfers(job.step, batch) for job in part]
        words = [MAKING[job.step.op].words(job.step, batch) for job in part]
        turns = words_together(*words)
        rounds += waits(part, batch)
        extended = sum(extension.kind.extension_said(sum(counts), made), Said())
        made += sum(counts)
        for i, party in enumerate(beside):
            beside[party] += extended + Said(sum(turn[i] > 0 for turn in turns))
        on_the_way += extended.bytes + _WORD * sum(max(turn) for turn in turns)
        for job, count, own in zip(part, counts, words):
            steps[job.step.name] = StepOffline(
                {party: _WORD * sum(turn[i] for turn in own) for i, party in enumerate(beside)},
                rates.step + count / rates.transfers,
            )
    sent = {
        party: said.bytes + sum(step.sent.get(party, 0) for step in steps.values()) for party, said in beside.items()
    }
    seconds = sum(step.seconds for step in steps.values()) + network.seconds(on_the_way) + network.delay * rounds
    return Offline(steps, sent, seconds, _setup(plan, extension.kind))


def _map(step: Step, batch: int, rates: Rates) -> StepOffline:
    up, down = (_WORD * words for words in maps.sizes(step, batch))
    h = step.width // 8 * batch * step.size
    sent = {"client": up + h + 2 * HEADER_BYTES, "server": down + HEADER_BYTES}
    return StepOffline(sent, rates.step + maps.products(step, batch) / rates.products)


def _setup(plan: Plan, kind: Kind) -> dict[str, int]:
    """The public key, and base transfers."""
    sender, receiver = kind.setup_said()
    key = Said(1, sum(maps.public_words(widths(plan))))
    return {"client": (sender + receiver + key).bytes, "server": (sender + receiver).bytes}
