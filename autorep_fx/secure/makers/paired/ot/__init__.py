"""Oblivious transfer between two parties: base transfers on a curve, and as many more as one wants from them."""

from .ferret import Ferret, Noise
from .kind import Kind
from .roles import Receiver, Sender
from .said import Said
from .softspoken import SoftSpoken

__all__ = ["Ferret", "Kind", "Noise", "Receiver", "Said", "Sender", "SoftSpoken"]
