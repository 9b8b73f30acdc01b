"""Oblivious transfer: strings and bits from correlated blocks. See the package for what is common to all functions.

OT extension leaves its sender with blocks `q` and one `delta`, its receiver with choices `c` and blocks
`t = q ^ c * delta`. Hashed, `q` and `q ^ delta` are two strings of which the receiver knows the one that it chose.

n is a multiple of 64. Blocks are uint64 (n, 2), delta (2,), low word first; a plane is n bits in n / 64 words, bit i of
word j for OT 64 j + i. `index`, 0 to 2**64 - 1, is the running number of the first OT in its session and direction;
`domain`, 0 to 2**64 - 1, tells apart what one OT is used for: an OT gives independent strings in every domain, and no
(index, domain) may be used twice under one delta, but for flipping a choice between making q and its first use.

The hash is TMMO, `H(x; tweak) = p(p(x) ^ tweak) ^ p(x)` with p AES-128 under `key` (16 bytes, public; of one session
and direction, so that nobody can compute ahead for many) and the tweak (index + i, domain). Source: Guo, Katz, Wang,
Yu, "Efficient and secure multiparty computation from fixed-key block ciphers" (S&P 2020, ePrint 2019/074), where it is
tweakable correlation robust, circular too, for a random permutation: who evaluates p itself P times tells Q hashes
under one unknown delta of e bits of entropy from random with an advantage of the order of `P Q / 2**e + Q**2 / 2**128`;
e is 128, or 127 where the lowest bit of delta is known. The hash of one call that they give is correlation robust
without tweaks alone.
"""

from __future__ import annotations

from .extension import load


def ot_bits(blocks, *, key, index, domain, delta=None, bits=1):
    """Random bits of each OT: planes (bits, n / 64) of the lowest bits of `H(block; index + i, domain)`.

    With delta, of `block ^ delta`: the sender has the bits of both strings, the receiver those of one of them.
    """
    return load().ot_bits(blocks, key, index, domain, delta, bits)


def ot_send(q, delta, values, *, bits, key, index, domain):
    """The sender's half of `c * value mod 2**bits`, shared: returns (share, message).

    share = `-H(q) mod 2**bits`; message = `H(q) - H(q ^ delta) + value mod 2**bits`, packed: number i at bits
    `i * bits` and up of n * bits / 64 words. values (n,) and share: 32-bit numbers where bits <= 32, else 64-bit ones;
    bits 1 to 64, what lies above them in values is not looked at.
    """
    return load().ot_send(q, delta, values, bits, key, index, domain)


def ot_receive(t, choices, message, *, bits, key, index, domain):
    """The receiver's half: `H(t) + c * message mod 2**bits`, so that both shares sum to `c * value mod 2**bits`.

    choices: a plane. message: as `ot_send` packs it. Returns (n,), of 32 bits where bits <= 32, else 64.
    """
    return load().ot_receive(t, choices, message, bits, key, index, domain)


def ot_flip_(q, delta, plane):
    """At the sender, make the receiver's choice `c ^ plane`: `q ^= delta` where the plane has 1."""
    load().ot_flip_(q, delta, plane)


def expand_keys(seeds):
    """AES-128 round keys, (n, 22), of the seeds, (n, 2): what `vole_receive` and `vole_send` take. Secret as those."""
    return load().expand_keys(seeds)


def vole_receive(keys, *, words, k, purpose, transpose, out=None):
    """The receiver's half of 64 * words correlated OTs, from its trees: returns (blocks, choices, message).

    1. Leaf x of tree t is a stream s_x, `prg_words` of its seed and `purpose`. u_t: the sum (XOR) of a tree's streams.
    2. Row `k t + b`: the sum of those s_x of tree t whose x has bit b. Block j is column j of the 128 rows.
    3. choices: u_0. message: u_t ^ u_0 for t >= 1.

    keys: `expand_keys` of the leaves, tree after tree, 128 / k trees of 2**k, k 1, 2, 4 or 8. purpose: never twice
    with the same keys. blocks: (64 * words, 2), `out` where given; where `transpose` is False, they are rows still, for
    `vole_fold_`. Rows of `words` words are kept eight words at a time: words 0 to 7 of every row, then 8 to 15, and so
    on. (128 / k - 1) / 8 bytes an OT. Source: SoftSpokenOT (Roy, CRYPTO 2022, ePrint 2022/192), with the repetition
    code.
    """
    return load().vole_receive(keys, words, k, purpose, transpose, out)


def vole_send(keys, delta, message, *, words, k, purpose, transpose, out=None, coefficients=None):
    """The sender's half: blocks q with `q = t ^ c * delta`, from the trees that lack one leaf each.

    keys: as of `vole_receive`, but leaf x of tree t at place `x ^ delta_t`, delta_t being bits k t and up of delta; at
    place 0, where nothing is known, a key that is not used. out: for the blocks. With coefficients, and `transpose`,
    the rows are hashed as by `vole_fold_` on the way: returns (blocks, tags).
    """
    return load().vole_send(keys, delta, message, words, k, purpose, transpose, out, coefficients)


def vole_fold_(rows, coefficients, choices=None):
    """Hash each row, for the consistency check, and make blocks of the rows, in place.

    rows: from `vole_receive` or `vole_send` without `transpose`. coefficients: (words, 2), public and random. Returns
    tags (129, 2): of each row, and of `choices` (zero without), the sum of word times coefficient in GF(2^128), with
    x^128 = x^7 + x^2 + x + 1, lowest power first. Two rows that were fixed before the coefficients were drawn, and
    differ, have one tag with probability 2^-128. If `q = t ^ c * delta`, then q's tags are t's, and
    the choices' tag is in those where delta has a 1.
    """
    return load().vole_fold_(rows, coefficients, choices)


def trees_full(roots, delta, *, key, depth, out=None):
    """Correlated trees of 2**depth leaves (depth 1 to 16), all known: returns (leaves, sums).

    1. The first level: a tree's root (of `roots`, (trees, 2)), and the root ^ delta.
    2. Left child of x: `H(x) = p(s(x)) ^ s(x)`, p AES-128 under `key` (16 bytes, public), s(low, high) =
       (high, low ^ high). Right child: `H(x) ^ x`. So every level adds up to delta.
    3. The lowest bit of every leaf becomes 0.

    sums: (trees, depth, 2), of the left nodes of each level. leaves: (trees * 2**depth, 2), `out`
    where given. Source: Guo et al.,
    "Half-tree" (EUROCRYPT 2023, ePrint 2022/1431), the correlated tree.
    """
    return load().trees_full(key, roots, delta, depth, out)


def trees_lacking(sums, missing, *, key, out=None):
    """The leaves of the same trees for who lacks one leaf of each.

    sums: (trees, depth, 2), of each level's nodes on the side where the path to the missing leaf does not go.
    missing: (trees,), numbers of leaves, secret. In a missing leaf's place is `leaf ^ delta`, its lowest bit 1.
    """
    return load().trees_lacking(key, sums, missing, out)


def lpn_(blocks, vector, *, seed, first):
    """To block i add ten blocks of the vector: row `first + i` of a public random matrix that has ten ones a row.

    blocks: (n, 2), in place; first: a multiple of 64. vector: (size, 2). The places of 64 rows are 640 numbers of 32
    bits, r, from words 320 (row / 64) and up of `prg_words(seed, 0, ...)`: entry `r * size >> 32`.
    """
    load().lpn_(blocks, vector, seed, first)


def block_fold(blocks, *, seed, first):
    """A hash of blocks that is linear over GF(2^128), x^128 = x^7 + x^2 + x + 1: the sum of block i times coefficient
    `first + i`; and the sum of the coefficients of blocks whose lowest bit is 1. (2, 2).

    Coefficient i is words 2 i and 2 i + 1 of `prg_words(seed, 0, ...)`, public.
    """
    return load().block_fold(blocks, seed, first)
