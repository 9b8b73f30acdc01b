"""The table of lowerings: importing this package fills it."""

from . import activation, arithmetic, linear, pooling, shape  # noqa: F401
