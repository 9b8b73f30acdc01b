"""Bytes on the wire, counted by the kernel."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import NamedTuple

# Offsets into struct tcp_info (linux/tcp.h), kernel 4.19 or later.
_NOTSENT, _SENT, _RETRANSMITTED, _LENGTH = 144, 200, 208, 216


class Link(NamedTuple):
    """One TCP connection of this process: its two ports, and the bytes that this process put into it."""

    local: int
    peer: int
    sent: int


def can_count() -> bool:
    """Whether this system tells a process how much its sockets sent."""
    return sys.platform == "linux" and hasattr(socket, "TCP_INFO") and os.path.isdir("/proc/self/fd")


def links() -> list[Link]:
    """The connected TCP sockets of this process; none where it cannot be told how much they sent.

    ``sent`` is what left (without retransmissions) plus what still waits in the socket, so it does not depend on when
    the peer reads or acknowledges.
    """
    found: list[Link] = []
    for name in os.listdir("/proc/self/fd") if can_count() else ():
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            copy = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # closed since the listing (the listing's own descriptor always is)
            continue
        with copy:
            try:
                if copy.family not in (socket.AF_INET, socket.AF_INET6) or copy.type != socket.SOCK_STREAM:
                    continue
                peer = copy.getpeername()[1]
                info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
            except OSError:  # not connected
                continue
            if len(info) < _LENGTH:
                raise OSError("this kernel's TCP_INFO has no count of bytes sent")
            (waiting,) = struct.unpack_from("I", info, _NOTSENT)
            sent, again = struct.unpack_from("QQ", info, _SENT)
            found.append(Link(copy.getsockname()[1], peer, sent - again + waiting))
    return found


def total() -> int:
    """Bytes that this process sent on all of them."""
    return sum(link.sent for link in links())
