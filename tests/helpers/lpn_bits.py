"""Operations (log2) of the attacks on learning parity with regular noise that Ferret's parameters are taken against.

n = h b equations in k unknowns, rows of `ones` ones, one error in each of h blocks of b. Solving is by Wiedemann's
method where terms are few, else dense (2.807).
"""

from math import log2


def algebraic(h, b, k, ones):
    """Products of two entries of a block are zero (Briaud, Oygarden, ePrint 2023/176; with guesses and sparse solving).

    Some entries of each block, a share of all, are guessed to be zero. Degree d suffices where the Hilbert series
    ((1 + (b' - 1) z)^h / (1 + z)^(n - k)) has no positive coefficient left, as their conjecture says.
    """
    return min(_degree(h, b, k, ones, degree) for degree in (2, 3, 4))


def _degree(h, b, k, ones, degree):
    n, most = h * b, (k - h) / (h * b)
    low, high = 0.0, most
    if not _solvable(n, k, h, b, 0.0, degree):
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if _solvable(n, k, h, b, middle, degree) else (middle, high)
    else:
        high = 0.0
    return min(_cost(n, k, h, ones, degree, high + (most - high) * i / 400) for i in range(400))


def _cost(n, k, h, ones, degree, share):
    unknowns, monomials = max(degree, k - h - share * (n - h)), 1.0
    for i in range(degree):
        monomials *= (unknowns - i) / (i + 1)
    terms = (ones + 1) ** 2
    return -h * log2(1 - share) + min(log2(3 * terms) + 2 * log2(monomials), 2.807 * log2(monomials))


def _solvable(n, k, h, b, share, degree):
    left, checks = b * (1 - share) - 1, n - k
    blocks, parity = [1.0], [1.0]
    for i in range(1, degree + 1):
        blocks.append(blocks[-1] * left * (h - i + 1) / i)
        parity.append(parity[-1] * -(checks + i - 1) / i)
    series = [sum(blocks[j] * parity[i - j] for j in range(i + 1)) for i in range(degree + 1)]
    return sum(series[2:]) < 1


def information_set(h, b, k, ones):
    """As many rows as unknowns, free of errors."""
    return _free(h, h * b, k - h) + min(log2(3 * ones) + 2 * log2(k), 2.807 * log2(k))


def own_rows(h, b, k, ones, share=None):
    """The same among the rows whose ones all lie in a share of the unknowns; by default one with as many rows."""
    n = h * b
    unknowns = k * ((k / n) ** (1 / (ones - 1)) if share is None else share)
    return _free(h, n, unknowns) + log2(3 * ones) + 2 * log2(unknowns)


def _free(h, n, rows):
    return -h * log2(1 - rows / n)
