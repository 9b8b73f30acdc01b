"""Lists of buffers that a socket takes or fills piece by piece."""

from __future__ import annotations


def after(parts: list[memoryview], count: int) -> list[memoryview]:
    """What is left of the buffers behind the first ``count`` bytes."""
    while count:
        if count < len(parts[0]):
            return [parts[0][count:], *parts[1:]]
        count -= len(parts[0])
        parts = parts[1:]
    return parts
