"""Linear maps under encryption (RLWE), for client and server without a dealer. See the package for what is common.

Two rings of polynomials, by ``width``, the bits of the shares: modulo X^4096 + 1 with q a product of three primes for
32, modulo X^8192 + 1 and five primes for 64 (:func:`rlwe_primes`). "Residues" are uint32 arrays (..., primes, degree),
each number below its prime; they are values at the roots of X^degree + 1, in bit-reversed order, where not said
otherwise.

    client                                                          server
    secret = rlwe_forward(rlwe_ternary(seed, 0, 1))[0]
    pk1 = rlwe_uniform(shown, 0, 1)[0]
    pk0 = rlwe_public(secret, pk1, seed)                            public = stack([pk0, pk1])
    high, low = rlwe_encrypt(B, secret, ...)                        weight = rlwe_weight(W, positions, ...)
                                       -- high, low, key of c1 -->
                                                                    U, high, low = rlwe_respond(high, low, weight, ...)
                                       <------ high, low ---------
    d = rlwe_decrypt(high, low, secret)

leaves ``d + U = W B`` modulo 2^width, polynomial by polynomial, off by one at times (see the bound in
autorep_fx/secure/makers/paired/maps/parameters.py). A ``seed`` or key is 16 bytes of which everything random is made by
AES: one that is said to be secret is drawn for the call and used for nothing else. Neither a secret seed nor the
client's B nor the server's weights decide about a branch or an address.

The server's answer is c1 alone: c0 stays with it as its share. What the client sees of the weights is then one RLWE
sample for each answer, whatever it sent. Sources: Cheetah (Huang et al., USENIX Security 2022, ePrint 2022/207); that
both parties round for themselves is Boyle, Kohl, Scholl (EUROCRYPT 2019, ePrint 2019/129).
"""

from __future__ import annotations

from .extension import load

_PRIMES = {
    32: (4096, (134176769, 134111233, 134012929)),
    64: (8192, (133857281, 133644289, 133611521, 133513217, 133251073)),
}


def rlwe_primes(width):
    """Degree of the ring for shares of so many bits, and its primes: each is 1 modulo twice the degree, below 2^27."""
    return _PRIMES[width]


def rlwe_uniform(seed, first, polynomials, *, width):
    """Uniform residues (polynomials, primes, degree), public: polynomial i is of the streams of number ``first + i``.

    A stream gives numbers of 32 bits, of which 27 count. One that is not below the prime is replaced by the next behind
    the first ``degree`` that is.
    """
    return load().rlwe_uniform(seed, first, polynomials, width)


def rlwe_ternary(seed, first, polynomials, *, width):
    """Coefficients -1, 0 and 1, int8 (polynomials, degree), each within 2^-62 as likely as the others."""
    return load().rlwe_ternary(seed, first, polynomials, width)


def rlwe_noise(seed, first, polynomials, *, width):
    """Coefficients of the centred binomial distribution of 21 coins: int8 (polynomials, degree), -21 to 21."""
    return load().rlwe_noise(seed, first, polynomials, width)


def rlwe_forward(small, *, width):
    """Values at the roots, residues (polynomials, primes, degree), of coefficients: int8 (polynomials, degree)."""
    return load().rlwe_forward(small, width)


def rlwe_inverse(values, *, width):
    """Coefficients, below the primes, of polynomials whose residues these are."""
    return load().rlwe_inverse(values, width)


def rlwe_public(secret, other, noise_seed, *, width):
    """The first half of a public key, ``noise - secret other``; residues (primes, degree) all. noise_seed: secret."""
    return load().rlwe_public(secret, other, noise_seed, width)


def rlwe_encrypt(plain, secret, *, public_seed, noise_seed, first=0, low_words=1):
    """Encryptions of ring elements ``plain`` (polynomials, degree), 32 or 64 bits wide, under the client's own secret.

    secret: residues (primes, degree). public_seed: makes c1, and is sent. noise_seed: secret. Polynomial i uses their
    streams of number ``first + i``. low_words: 1 or 2.

    Returns c0 / q as ``high`` (polynomials, degree), its bits that a ring element has, and ``low``, uint32
    (polynomials, low_words, degree), the next ones, rounded. ``plain`` is added to ``high`` and to nothing else: who
    takes ``-high`` of an encryption of zero for the blinding need not send it.
    """
    return load().rlwe_encrypt(plain, secret, public_seed, noise_seed, first, low_words)


def rlwe_weight(values, positions, *, width, memory=0):
    """What the server multiplies by, laid out for :func:`rlwe_respond`.

    values: (groups, outputs, inputs, terms), signed, of 32 or 64 bits: coefficients of X^position in the polynomial of
    an input and an output. positions: int32 (terms,), below twice the degree; from the degree on for -X^(position -
    degree). memory: bytes that weights at the roots may take; the others are transformed whenever they are used.
    """
    return load().rlwe_weight(values, positions, width, memory)


def rlwe_room(weight, samples):
    """Bytes that :func:`rlwe_respond` works in for so many samples, beside what it returns."""
    return load().rlwe_room(weight, samples)


def rlwe_respond(high, low, weight, public, *, public_seed, seed, room=None):
    """The server's share of ``sum over inputs of W B``, and what it answers, for each sample, group and output.

    high: (samples, groups, inputs, degree), low: (..., low_words, degree), public_seed: from :func:`rlwe_encrypt`.
    public: residues (2, primes, degree), the client's public key. seed: secret. room: uint8 (bytes,) of
    :func:`rlwe_room`, memory that was used before, for fresh memory takes its time; with less it takes its own.

    Returns the share (samples, groups, outputs, degree), and the answer, which is c1 / q: the bits that a ring element
    has, of the same shape, and 8 more, uint8. Raises ValueError where the public key has a number that is not below its
    prime; no other number that a client may send is wrong.
    """
    return load().rlwe_respond(high, low, weight, public, public_seed, seed, room)


def rlwe_decrypt(high, low, secret):
    """The client's share, (polynomials, degree), of answers: high (polynomials, degree), low uint8 of that shape."""
    return load().rlwe_decrypt(high, low, secret)
