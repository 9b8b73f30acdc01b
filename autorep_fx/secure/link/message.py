"""The frame of a message: a header and the bytes of its arrays. Sizes and names only, no socket."""

from __future__ import annotations

import struct

#: step, depth, bytes of the arrays, time of sending.
HEADER = struct.Struct("<IIQd")

#: What a message adds to its arrays.
HEADER_BYTES = HEADER.size

#: What a greeting says: a magic word, the version, the plan's digest.
HELLO_BODY = struct.Struct("<8sI4x16s")
MAGIC = b"afx-2pc\0"

#: Steps of messages outside of the plan.
HELLO, SETUP, REQUEST, READY, LETTER, FAULT, CORRELATIONS, CHECK = (2**32 - i for i in range(1, 9))
NAMES = {HELLO: "hello", SETUP: "setup", REQUEST: "request", READY: "ready", LETTER: "letter", FAULT: "fault",
         CORRELATIONS: "correlations", CHECK: "check"}  # fmt: skip

#: What a challenge is: the seed of what the client's messages are weighted by.
CHALLENGE_BYTES = 16

#: Bytes of a letter or a fault, at most.
LONGEST_LETTER = 2**16
