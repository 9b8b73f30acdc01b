"""A public number of a program that misbehaves in one party's process. The parties import this file by name."""

from __future__ import annotations

import os
import time


class Fault(float):
    """Used as the factor of a ``scale`` step; what it does happens where the party with this rank looks at it."""

    def __new__(cls, rank: int, what: str):
        self = super().__new__(cls, 3.0)
        self.rank, self.what = rank, what
        return self

    def __reduce__(self):
        return Fault, (self.rank, self.what)

    def __int__(self) -> int:
        if os.environ.get("RANK") == str(self.rank) and self.what == "die":
            os._exit(7)
        if os.environ.get("RANK") == str(self.rank) and self.what == "hang":
            time.sleep(600)
        if os.environ.get("RANK") == str(self.rank) and self.what == "raise":
            raise ArithmeticError("no such number")
        return 3
