"""How many messages of a run wait for one another, from the plan alone.

A round is a message that had to wait for another one; a round trip is two. Messages that go the same way in a row, or
both ways at once, are one round.
"""

from __future__ import annotations

from collections import deque

from . import wire
from .plan import Plan


def message_rounds(plan: Plan) -> dict[str, int]:
    """By how much each step's messages are deeper than all before it, by playing the parties' clocks (parties/server.py
    says when it waits)."""
    client = server = deepest = 0
    rounds: dict[str, int] = {}
    waiting: deque[tuple[str, int]] = deque()
    known: set[str] = set()

    def need(name: str) -> None:
        nonlocal server
        while name not in known:
            found, depth = waiting.popleft()
            server = max(server, depth)
            known.add(found)

    for step in plan.steps:
        for name in step.inputs:
            need(name)
        depth = deepest
        if step.op == "input":
            depth = server = max(server, client + 1)
        elif step.op == "output":
            if plan.checked:  # a challenge behind the last message, and its answer
                if waiting:
                    need(waiting[-1][0])
                client = max(client, server + 1)
                server = max(server, client + 1)
            depth = client = max(client, server + 1)
        if step.answered:
            if wire.exchanges(step) and waiting:
                need(waiting[-1][0])
            client = max(client, server + 1)
            for _ in range(wire.exchanges(step)):
                client, server = max(client, server + 1), max(server, client + 1)
            depth = client + 1
            waiting.append((step.name, depth))
        else:
            known.add(step.name)
        rounds[step.name], deepest = max(depth - deepest, 0), max(depth, deepest)
    return rounds
