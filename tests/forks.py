"""Processes that tests start: forks of one that has imported torch, which takes two seconds of a core."""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["autorep_fx.secure.secure_program"])  # where nobody has started it
