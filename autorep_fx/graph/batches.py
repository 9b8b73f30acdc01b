"""Calibration data: batches that are checked, and can be walked more than once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from operator import itemgetter
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ..errors import CalibrationError, CalibrationWarning
from . import outliers
from .nested import in_words, leaves, mapped
from .several import Batch, Inputs, counted, parts_of

#: Samples of a batch, of what is one tensor; and how many that are far out are named.
_CHUNK, _NAMED = 128, 5


class Batches:
    """Checked calibration batches that can be walked more than once: (input, label or None).

    Accepts a tensor (N, ...), a pair (inputs, integer labels), or an iterable of batches, each a tensor or a tuple
    whose first entry is the input; a second entry that is a tensor of one value a sample, or more, is taken as the
    labels, or targets. A pair of floating-point tensors may be two batches or inputs and their targets, and is refused.

    For a model of several ``inputs`` a batch is a tuple of as many tensors, with the labels or targets behind them or
    as the second of a pair ``((a, b), labels)``, and so is ``data``, where it is a tuple that begins with tensors;
    batches are :class:`~.several.Inputs` then.

    With ``targets``, for a loss of one's own, every batch is a pair of inputs and targets of any kind, and so is
    ``data``, where it is a pair that begins with inputs.

    With ``leave_out``, samples that are far out (:mod:`~autorep_fx.graph.outliers`) are left out of every walk, and the
    first one, which looks at all samples once before, names them in a CalibrationWarning.

    Raises:
        CalibrationError: on the first walk past a batch that is empty, not finite, not floating point, or of another
            shape than the first; and for no batches at all.
    """

    def __init__(
        self, data: Tensor | Iterable, name: str = "calibration", leave_out: bool = False, targets: bool = False,
        inputs: int = 1,
    ):  # fmt: skip
        self.name, self.targets, self.inputs = name, targets, inputs
        #: Of the largest |x| of a sample of each input; None: not known yet.
        self.limits = None if leave_out else (torch.inf,) * inputs
        if inputs > 1:
            data = self._of_several(data)
        elif targets and _is_pair(data):
            data = _in_chunks(*data)
        elif _is_labelled_pair(data):
            data = list(zip(data[0].split(_CHUNK), data[1].split(_CHUNK)))
        elif _may_be_labelled(data):
            raise CalibrationError(
                f"{name} has {len(data[0])} samples and {len(data[1])} labels: give one for each sample"
            )
        elif isinstance(data, Tensor):
            if data.dim() < 2 or len(data) == 0:
                raise CalibrationError(f"{name} is a tensor of shape {tuple(data.shape)}; it needs (N, ...) with N > 0")
            data = data.split(_CHUNK)
        elif not isinstance(data, Iterable) or isinstance(data, (str, bytes, dict)):
            raise CalibrationError(f"{name} must be a tensor or an iterable of batches, got {type(data).__name__}")
        elif _may_be_targets(data):
            self._refuse_targets(data)
        elif isinstance(data, Iterator):
            data = list(data)  # a generator can be walked once only
        self.data = data

    def _refuse_targets(self, data: Sequence[Tensor]) -> None:
        """A list is what it says, a list of batches; but a DataLoader's batch of inputs and targets is a list, too."""
        shapes = " and ".join(str(tuple(part.shape)) for part in data)
        two = (
            f"{self.name} is a pair of floating-point tensors, {shapes}: give [(inputs, targets)], or a loss= of both, "
            "if these are targets"
        )
        if isinstance(data, tuple):
            raise CalibrationError(f"{two}, or a list [inputs, inputs] if they are two batches of inputs")
        if data[0].shape[1:] == data[1].shape[1:]:
            warnings.warn(f"{two}; they are taken as two batches of inputs", CalibrationWarning, stacklevel=4)

    def _of_several(self, data: Any) -> Iterable:
        """As an iterable of batches; a tuple of tensors is all samples at once."""
        if isinstance(data, Tensor) or not isinstance(data, Iterable) or isinstance(data, (str, bytes, dict)):
            raise CalibrationError(
                f"{self.name} is one tensor or none, and the model takes {counted(self.inputs)}: give a tuple of as "
                f"many tensors, or an iterable of such tuples"
            )
        if isinstance(data, tuple) and data and isinstance(data[0], Tensor):
            x, labels = self._split(data)
            if not isinstance(x, Inputs):
                self._refuse_number(data, self.name)
            return _in_chunks(x, labels)
        return list(data) if isinstance(data, Iterator) else data

    def _refuse_number(self, batch: Any, where: str) -> None:
        found = counted(len(batch)) if isinstance(batch, (tuple, list)) else "1 input"
        raise CalibrationError(f"{where} has {found}, and the model takes {counted(self.inputs)}: give a tuple of them")

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        if self.limits is None:
            self.limits = self._find_limits()
        for x, labels in self._checked():
            within = [outliers.largest(part) <= limit for part, limit in zip(parts_of(x), self.limits)]
            inside = within[0]
            for each in within[1:]:
                inside = inside & each.to(inside.device)
            if inside.all():
                yield x, labels
            elif inside.any():
                yield x[inside], _of_samples(labels, inside, self.name)

    def _find_limits(self) -> tuple[float, ...]:
        found = [[outliers.largest(part).cpu() for part in parts_of(x)] for x, _ in self._checked()]
        return tuple(self._find_limit([*maxima]) for maxima in zip(*found))

    def _find_limit(self, maxima: list[Tensor]) -> float:
        together = torch.cat(maxima)
        limit = outliers.limit(together)
        if out := int((together > limit).sum()):
            named = [f"batch {i} sample {j} ({float(m[j]):.3g})" for i, m in enumerate(maxima)
                     for j in (m > limit).nonzero().flatten().tolist()][:_NAMED]  # fmt: skip
            warnings.warn(
                f"{out} of {len(together)} samples of {self.name} are left out, their largest |x| is above "
                f"{limit:.3g}, many times the others': {', '.join(named)}{', ...' if out > _NAMED else ''}. Remove "
                "broken samples; if the model will see such inputs, scale them so that they are no exception",
                CalibrationWarning,
                stacklevel=2,
            )
        return limit

    def _checked(self) -> Iterator[tuple[Any, Any]]:
        shapes: tuple[torch.Size | None, ...] | None = None
        for i, batch in enumerate(self.data):
            x, labels = self._split(batch)
            where = f"{self.name} batch {i}"
            if self.inputs == 1:
                shapes = (self._check(x, where, shapes[0] if shapes else None),)
            else:
                if not isinstance(x, Inputs):
                    self._refuse_number(batch, where)
                known = shapes or (None,) * self.inputs
                shapes = tuple(self._check(part, f"{where} input {j}", own)
                               for j, (part, own) in enumerate(zip(x.parts, known)))  # fmt: skip
                if len({*map(len, x.parts)}) > 1:
                    sizes = " and ".join(str(len(part)) for part in x.parts)
                    raise CalibrationError(f"{where} has inputs of {sizes} samples; each sample has one of each")
            yield x, labels
        if shapes is None:
            raise CalibrationError(f"{self.name} is empty: give at least one batch")

    @staticmethod
    def _check(x: Any, where: str, shape: torch.Size | None) -> torch.Size:
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() < 2:
            kind = f"{x.dtype} tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise CalibrationError(f"{where} must be a floating-point tensor (N, ...), got a {kind}")
        if len(x) == 0:
            raise CalibrationError(f"{where} is empty")
        if shape is not None and x.shape[1:] != shape:
            raise CalibrationError(
                f"{where} has samples of shape {tuple(x.shape[1:])}, the first batch had {tuple(shape)}; targets "
                "go with their inputs, [(inputs, targets)]"
            )
        if not torch.isfinite(x).all():
            bad = int((~torch.isfinite(x)).sum())
            raise CalibrationError(f"{where} holds {bad} values that are NaN or infinite; remove those samples")
        return x.shape[1:]

    def __len__(self) -> int:
        return len(self.data) if isinstance(self.data, Sized) else 0

    def _split(self, batch) -> tuple:
        if self.inputs > 1:
            return self._split_several(batch)
        if self.targets and not _is_pair(batch):
            raise CalibrationError(
                f"{self.name} has {in_words(batch)} for a batch, and loss= needs pairs (inputs, targets); give "
                f"{self.name}=[(inputs, targets), ...], or leave loss= out, where there are no targets"
            )
        if self.targets:
            return tuple(batch)
        if not isinstance(batch, (tuple, list)):
            return batch, None
        if not batch:
            return None, None
        x, label = batch[0], batch[1] if len(batch) > 1 else None
        fits = isinstance(label, Tensor) and isinstance(x, Tensor) and label.dim() >= 1 and len(label) == len(x)
        return x, label if fits else None

    def _split_several(self, batch: Any) -> tuple:
        """``(a, b)``, ``(a, b, labels)`` or ``((a, b), labels)``."""
        if isinstance(batch, Inputs):
            return batch, None
        found: tuple = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
        if found and isinstance(found[0], (tuple, list, Inputs)):
            more, found = found[1:], found[0].parts if isinstance(found[0], Inputs) else tuple(found[0])
        else:
            found, more = found[: self.inputs], found[self.inputs :]
        fits = len(found) == self.inputs and len(more) <= 1
        if not fits or not all(isinstance(part, Tensor) for part in found):
            return batch, None
        if self.targets and not more:
            raise CalibrationError(f"{self.name} has inputs alone for a batch, and loss= needs ((a, b), targets)")
        return Inputs(found), more[0] if more else None


def _is_pair(data: Any) -> bool:
    """Inputs and what belongs to them."""
    return isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], Tensor) and data[1] is not None


def _in_chunks(x: Batch, targets: Any) -> list[tuple[Any, Any]]:
    """Batches of a pair, where every target says which sample it is of."""
    if targets is None:
        return [(x[i : i + _CHUNK], None) for i in range(0, len(x), _CHUNK)]
    parts = [part for _, part in leaves(targets)]
    if not all(isinstance(part, Tensor) and part.dim() and len(part) == len(x) for part in parts):
        return [(x, targets)]
    chunks = [slice(i, i + _CHUNK) for i in range(0, len(x), _CHUNK)]
    return [(x[chunk], mapped(itemgetter(chunk), targets)) for chunk in chunks]


def _of_samples(targets: Any, inside: Tensor, name: str) -> Any:
    """The targets of those samples that are ``inside``, a mask."""

    def picked(part: Tensor) -> Tensor:
        if part.dim() == 0 or len(part) != len(inside):
            raise CalibrationError(
                f"{name} has samples that are far out, and its targets, {in_words(targets)}, are not one for each of "
                f"{len(inside)}; remove those samples from the data"
            )
        return part[inside.to(part.device)]

    return mapped(picked, targets)


def _is_labelled_pair(data: Any) -> TypeGuard[tuple[Tensor, Tensor]]:
    return _may_be_labelled(data) and len(data[0]) == len(data[1]) > 0


def _may_be_labelled(data: Any) -> TypeGuard[tuple[Tensor, Tensor]]:
    """Also where it has another number of labels than of samples."""
    if not (isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(d, Tensor) for d in data)):
        return False
    x, labels = data
    return labels.dim() == 1 and not labels.is_floating_point() and x.dim() >= 2


def _may_be_targets(data: Any) -> TypeGuard[Sequence[Tensor]]:
    if not (isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(d, Tensor) for d in data)):
        return False
    return all(d.is_floating_point() and d.dim() for d in data) and len(data[0]) == len(data[1]) > 0
