"""Values of a trace that record ``x += y`` in place, where those of torch.fx record a plain sum, and ``x[i] = y``."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx
from torch.fx.proxy import Attribute


class _Augmented:
    """Operators with ``=``, each a node."""

    tracer: Any

    def __iadd__(self, other: Any) -> Any:
        return self._record(operator.iadd, other)

    def __isub__(self, other: Any) -> Any:
        return self._record(operator.isub, other)

    def __imul__(self, other: Any) -> Any:
        return self._record(operator.imul, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._record(operator.itruediv, other)

    def __ifloordiv__(self, other: Any) -> Any:
        return self._record(operator.ifloordiv, other)

    def __imod__(self, other: Any) -> Any:
        return self._record(operator.imod, other)

    def __ipow__(self, other: Any) -> Any:
        return self._record(operator.ipow, other)

    def __iand__(self, other: Any) -> Any:
        return self._record(operator.iand, other)

    def __ior__(self, other: Any) -> Any:
        return self._record(operator.ior, other)

    def __ixor__(self, other: Any) -> Any:
        return self._record(operator.ixor, other)

    def __ilshift__(self, other: Any) -> Any:
        return self._record(operator.ilshift, other)

    def __irshift__(self, other: Any) -> Any:
        return self._record(operator.irshift, other)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})

    def __getattr__(self, name: str) -> Attribute:
        return _RecordedAttribute(self, name)  # type: ignore[arg-type]

    def _record(self, what: Any, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", what, (self, other), {})


class Recorded(_Augmented, fx.Proxy):
    """A value of a trace."""


class _RecordedAttribute(_Augmented, Attribute):
    """``x.data += y``."""
