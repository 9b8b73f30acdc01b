"""What it costs two to make correlations."""

from __future__ import annotations

import numpy as np

from ...link.message import HEADER_BYTES
from ...link.network import Network
from ...plan.plan import Plan, Step
from ...rates import Rates
from ..maker import Offline, StepOffline
from . import maps
from .half import Job, parts, waits
from .model import widths
from .ot import Kind, Said
from .table import MAKING
from .turns import words_together

_WORD = 8


def offline(plan: Plan, batch: int, network: Network, rates: Rates, kind: Kind) -> Offline:
    """See :meth:`~..maker.Maker.offline`."""
    steps = {step.name: StepOffline() for step in plan.steps}
    beside = {"server": Said(1), "client": Said()}  # "ready"
    rounds = 3  # ciphertexts, answers, what they are for
    for step in plan.steps:
        if step.op == "map":
            steps[step.name] = _map(step, batch, rates)
    masked = [Job(0, index, step, np.empty(0)) for index, step in enumerate(plan.steps) if step.masked]
    for part in parts(masked, batch):
        counts = [MAKING[job.step.op].transfers(job.step, batch) for job in part]
        words = [MAKING[job.step.op].words(job.step, batch) for job in part]
        turns = len(words_together(*words))
        rounds += waits(part, batch)
        extended = dict(zip(beside, _extended(kind, sum(counts))))
        for party, said in extended.items():
            beside[party] += Said(turns + said.messages, said.words)
        for job, count, own in zip(part, counts, words):
            steps[job.step.name] = StepOffline(
                {party: _WORD * sum(turn[i] for turn in own) for i, party in enumerate(beside)},
                rates.step + count / rates.transfers,
            )
    sent = {
        party: said.bytes + sum(step.sent.get(party, 0) for step in steps.values()) for party, said in beside.items()
    }
    seconds = (
        sum(step.seconds for step in steps.values()) + network.seconds(sum(sent.values())) + network.delay * rounds
    )
    return Offline(steps, sent, seconds, _setup(plan, kind))


def _map(step: Step, batch: int, rates: Rates) -> StepOffline:
    up, down = (_WORD * words for words in maps.sizes(step, batch))
    h = step.width // 8 * batch * step.size
    sent = {"client": up + h + 2 * HEADER_BYTES, "server": down + HEADER_BYTES}
    return StepOffline(sent, rates.step + maps.products(step, batch) / rates.products)


def _extended(kind: Kind, count: int) -> tuple[Said, Said]:
    """What the server and the client say for so many transfers each way."""
    sender, receiver = kind.extension_said(count)
    return sender + receiver, sender + receiver


def _setup(plan: Plan, kind: Kind) -> dict[str, int]:
    """The public key, and base transfers."""
    sender, receiver = kind.setup_said()
    key = Said(1, sum(maps.public_words(widths(plan))))
    return {"client": (sender + receiver + key).bytes, "server": (sender + receiver).bytes}
