"""Values that every kernel test uses."""

import numpy as np

EDGES = np.array([0, 1, 2**63 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
HASH_KEY = bytes(range(16))
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 101, 1000]  # around the vector lengths of every tier


def carry_shapes(nodes, words):
    """Shapes of (a, b, c, message) for the level of the carry tree that has this many nodes."""
    pairs = nodes // 2
    return (pairs, words), (2 * pairs - 1, words), (2 * pairs - 1, words), (3 * pairs - 1, words)
