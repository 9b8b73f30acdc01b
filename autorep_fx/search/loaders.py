"""What a user's loaders give, checked before it reaches the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from torch import Tensor

from ..graph.labels import described, fault_of_classes, fault_of_labels
from ..graph.several import Inputs, counted


class Loader:
    """The batches of ``loader``, each a checked pair: inputs (N, ...) floating-point, labels (N,) int64, or with
    ``targets`` whatever a loss of one's own takes. For a model of several ``inputs`` the first of a pair is a tuple of
    as many tensors, and :class:`~autorep_fx.graph.several.Inputs` here.

    Raises:
        ValueError: from the constructor, no re-iterable of batches, or an empty one; from a walk, a batch that is no
            such pair. Names the loader, the batch and the way out.
    """

    def __init__(self, loader: Iterable, name: str, targets: bool = False, inputs: int = 1):
        self.loader, self.name, self.targets, self.inputs = loader, name, targets, inputs
        kind = type(loader).__name__
        if isinstance(loader, Iterator):
            raise ValueError(
                f"{name} is a {kind}, which can be walked once only, and every epoch walks it; give a DataLoader, or "
                f"list({name}) if that fits the memory"
            )
        if isinstance(loader, (Tensor, Mapping, str, bytes)) or not hasattr(loader, "__iter__"):
            raise ValueError(f"{name} must be a DataLoader or a list of batches (inputs, labels), got a {kind}")
        if self._length() == 0:
            raise ValueError(
                f"{name} has no batches; one that drops a short last batch needs at least a batch of samples"
            )

    def __len__(self) -> int:
        """Batches in a walk.

        Raises:
            ValueError: the loader does not know.
        """
        length = self._length()
        if length is None:
            raise ValueError(
                f"{self.name} has no length, and the schedules of a run need one; give it __len__, the batches of an "
                "epoch"
            )
        return length

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for i, batch in enumerate(self.loader):
            yield _pair(batch, f"{self.name} batch {i}", self.targets, self.inputs)

    def set_epoch(self, epoch: int) -> None:
        """Tell the loader, or its sampler, which epoch comes, so that it can be repeated exactly."""
        for owner in (self.loader, getattr(self.loader, "sampler", None)):
            if tell := getattr(owner, "set_epoch", None):
                tell(epoch)

    def _length(self) -> int | None:
        try:
            return len(self.loader) if isinstance(self.loader, Sized) else None
        except TypeError:  # a DataLoader over an iterable data set
            return None


def _pair(batch, where: str, targets: bool, inputs: int) -> tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        kind = type(batch).__name__
        size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise ValueError(
            f"{where} is a {kind}{size}; it must be a pair (inputs, labels): let the collate_fn of the DataLoader, or "
            "a small class around it, pick the two"
        )
    x, labels = batch
    if inputs > 1:
        if not isinstance(x, (tuple, list)) or len(x) != inputs:
            raise ValueError(f"{where} must be ((a, b), labels), for the model takes {counted(inputs)}")
        for part in x:
            _check_input(part, where)
            if len(part) != len(x[0]):
                raise ValueError(f"{where} has inputs of {len(x[0])} and {len(part)} samples")
        x = Inputs(x)
    else:
        _check_input(x, where)
    if targets:
        return x, labels
    if fault := fault_of_labels(labels, len(x)):
        raise ValueError(f"{where} {fault}")
    return x, labels.long()


def _check_input(x: Any, where: str) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() < 2 or len(x) == 0:
        raise ValueError(f"{where} must have a floating-point tensor (N, ...) of inputs, N > 0, got {described(x)}")


def check_classes(labels: Tensor, output, where: str) -> None:
    """Raise ValueError unless ``output`` is (N, classes) and the labels are classes of it."""
    if fault := fault_of_classes(labels, output):
        raise ValueError(f"{where} {fault}")
