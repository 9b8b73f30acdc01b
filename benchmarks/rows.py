"""Sizes and row names that the kernel benchmarks share."""

from autorep_fx import kernels

SIZES = [2**12, 2**16, 2**20, 2**23]  # 32 KB to 64 MB an array: first-level cache to beyond the last
TIERS = kernels.available_tiers() if kernels.available() else []
