"""Fixed masks that were chosen within limits: what the plan takes behind the training is within them, or is told."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import BudgetError, CompileError
from ..forms.prices import Predicted
from .mending import RESERVE, Mending, say_beyond
from .methods import Method

log = logging.getLogger(__name__)

#: In this part of a run the plan is looked at once, and again where forms have changed: what changes then is trained
#: with all else.
_LOOKS = (0.5, 0.9)


class Limited(Method):
    """Fixed masks, until training has moved the plan beyond the limits: then few forms change that
    bring it back, half-way through the run or at its end, where a short training learns them."""

    def __init__(self, mending: Mending):
        super().__init__(mending.gm)
        self.mending = mending
        self.predicted: Predicted | None = None
        self.looked = False

    def after_epoch(self, done: float, refresh: Callable[[], None]) -> None:
        if self.looked or not _LOOKS[0] <= done <= _LOOKS[1]:
            return
        refresh()
        self.predicted = self.mending.predicted()
        self.looked = self.mending.within(self.predicted)
        if not self.looked:
            log.info("training has moved the plan beyond the limits (%s)", self.predicted)
            try:
                self.mending.mend(self.predicted, RESERVE, anew=False)
            except (BudgetError, CompileError) as error:  # of these weights; those of the end may do
                log.info("%s", error)

    def end(self, trains: bool = False) -> bool:
        self.predicted = self.mending.predicted()
        if self.mending.within(self.predicted):
            return False
        try:
            found = self.mending.mend(self.predicted, RESERVE if trains else 0.0)
        except (BudgetError, CompileError) as error:  # the weights are the result, whatever they take
            log.warning("training has moved the plan beyond the limits, and no forms bring it back: %s. Transform the "
                        "model again with a larger limit, or search within this one", error)  # fmt: skip
            return False
        say_beyond(log, self.predicted, trains)
        self.predicted = found
        return trains

    def state(self) -> dict:
        return {"looked": self.looked}

    def restore(self, state: dict) -> None:
        self.looked = state.get("looked", False)
