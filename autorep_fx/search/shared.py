"""What the ranks of a process group have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist


def shared(compute: Callable[[], Any]) -> Any:
    """What rank 0 of a process group computes, or raises, on all: each has its own data, and masks are the same."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return compute()
    found: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            found[0] = compute()
        except Exception as error:  # the others wait
            found[1] = error
    dist.broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return found[0]
