"""What it costs two to make correlations."""

from __future__ import annotations

import itertools

import numpy as np

from ...link.message import HEADER_BYTES
from ...link.network import Network
from ...plan.plan import Plan, Step
from ...rates import Rates
from ..maker import Offline, StepOffline
from . import maps
from .half import Extension, Job, chunks, jobs_of, parts
from .model import widths
from .ot import Kind, Said
from .table import encrypted
from .turns import Words, words_together

_WORD = 8

#: What a group of maps says, turn by turn, as (server, client): what is encrypted, answers, and what these are for.
_MAP_TURNS = [(0, 1), (1, 0), (0, 1)]


def offline(plan: Plan, batch: int, network: Network, rates: Rates, extension: Extension) -> Offline:
    """See :meth:`~..maker.Maker.offline`. A step has its part of what the extension of transfers takes."""
    steps = {step.name: StepOffline() for step in plan.steps}
    beside = {"server": Said(1), "client": Said()}  # "ready"
    groups = maps.in_groups(plan, batch, extension.transform_bits)
    said: Words = _MAP_TURNS * len(groups)
    made, shared = 0, dict.fromkeys(beside, 0)
    for part_of_map in itertools.chain(*groups):
        _add(steps[part_of_map.step.name], _map(part_of_map, network, rates))
    jobs = [
        job
        for index, step in enumerate(plan.steps)
        if step.masked
        for job in jobs_of(0, index, step, np.empty(0), batch, extension)
    ]
    for part in parts(jobs, extension.held):
        counts, words = [sum(need.n for need in job.needs) for job in part], [job.words for job in part]
        turns, n, extended = words_together(*words), sum(counts), Said()
        for chunk in chunks(n, extension.at_once):
            said += [(1, 1)] * extension.kind.extension_turns(chunk, made)
            extended += sum(extension.kind.extension_said(chunk, made), Said())
            made += chunk
        said += turns
        for i, party in enumerate(beside):
            beside[party] += extended + Said(sum(turn[i] > 0 for turn in turns))
        # Both directions at once, so that a link is occupied by the larger of them.
        on_the_way = extended.bytes + _WORD * sum(max(turn) for turn in turns)
        whole = sum(map(_sum, words)) + 2 * extended.words
        for job, count, own in zip(part, counts, words):
            of_extension = _WORD * extended.words * count // max(n, 1)  # n is 0 where all is encrypted
            for party in shared:
                shared[party] += of_extension
            words_of_it = _sum(own) + 2 * extended.words * count / max(n, 1)
            of_job = StepOffline(
                {party: _WORD * sum(turn[i] for turn in own) + of_extension for i, party in enumerate(beside)},
                rates.step + count / extension.kind.rate(rates) + _encrypted(job, rates),
                network.seconds(on_the_way) * words_of_it / whole,
            )
            _add(steps[job.step.name], of_job)
    sent = {
        party: found.bytes - shared[party] + sum(step.sent.get(party, 0) for step in steps.values())
        for party, found in beside.items()
    }
    rounds = _rounds([*said, (1, 0)])
    seconds = sum(step.seconds + step.link_seconds for step in steps.values()) + network.delay * rounds
    return Offline(steps, sent, rounds, seconds, _setup(plan, extension.kind))


def _add(to: StepOffline, part: StepOffline) -> None:
    for party, size in part.sent.items():
        to.sent[party] = to.sent.get(party, 0) + size
    to.seconds += part.seconds
    to.link_seconds += part.link_seconds


def _map(part: maps.Part, network: Network, rates: Rates) -> StepOffline:
    step, batch = part.step, part.size
    up, down = (_WORD * words for words in part.words)
    h = step.width // 8 * batch * step.size
    sent = {"client": up + h + 2 * HEADER_BYTES, "server": down + HEADER_BYTES}
    seconds = rates.step + maps.products(step, batch, part.transform_bits) / _rate(step, rates)
    return StepOffline(sent, seconds, network.seconds(sum(sent.values())))


def _rate(step: Step, rates: Rates) -> float:
    return rates.products if step.width == 64 else rates.products32


def _encrypted(job: Job, rates: Rates) -> float:
    """Seconds of what a masked step multiplies under encryption."""
    found = encrypted(job.step)
    return found.products(job.step, job.piece) / _rate(job.step, rates) if found else 0.0


def _rounds(turns: Words) -> int:
    """The longest chain of messages that wait for one another: those that go the same way in a row are one."""
    server = client = 0
    for by_server, by_client in turns:
        server, client = max(server, (client + 1) * (by_client > 0)), max(client, (server + 1) * (by_server > 0))
    return max(server, client)


def _sum(words: Words) -> int:
    return sum(map(sum, words))


def _setup(plan: Plan, kind: Kind) -> dict[str, int]:
    """The public key, and base transfers."""
    sender, receiver = kind.setup_said()
    key = Said(1, sum(maps.public_words(widths(plan))))
    return {"client": (sender + receiver + key).bytes, "server": (sender + receiver).bytes}
