"""An ONNX file, whole and with its own functions put in place of their calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FormatError, MissingDependency

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

#: The oldest operator set that is read: before it, sums said by an attribute how they broadcast.
OLDEST = 7


def read(path: Path) -> ModelProto:
    """The model of a file. Nothing in it is run.

    Raises:
        MissingDependency: the extra is not installed.
        FileNotFoundError: there is no such file, or none of those that it keeps weights in.
        FormatError: it is no ONNX file, or one that is older than what is read.
    """
    try:
        import onnx
        from onnx import external_data_helper as external
        from onnx.inliner import inline_local_functions
    except ImportError as error:
        raise MissingDependency(f"ONNX files need {error.name}: pip install 'autorep-fx[onnx]'") from error
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except Exception as error:  # of protobuf, which has kinds of its own
        raise FormatError(f"{path} is no ONNX file: {error}") from None
    if not model.graph.node or not model.opset_import:
        raise FormatError(f"{path} is no ONNX file: it has no graph, or no operator set")
    missing = {name for tensor in _external(model) if not (path.parent / (name := _location(tensor))).is_file()}
    if missing:
        raise FileNotFoundError(
            f"{path} keeps weights in {', '.join(sorted(missing))}, which must lie beside it, in {path.parent}; copy "
            "that too, or export the network into one file (torch.onnx.export(..., external_data=False))"
        )
    try:
        external.load_external_data_for_model(model, str(path.parent))
    except Exception as error:
        raise FormatError(f"the weights beside {path} cannot be read: {error}") from error
    if (version := opset(model)) < OLDEST:
        raise FormatError(
            f"{path} is of operator set {version}, and {OLDEST} is the oldest that is read; convert it: "
            f"onnx.version_converter.convert_version(onnx.load({path.name!r}), 13)"
        )
    return inline_local_functions(model) if model.functions else model


def opset(model: ModelProto) -> int:
    """Version of the operators of ONNX itself; files that use none of them say none."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), OLDEST)


def _external(model: ModelProto) -> list[TensorProto]:
    from onnx import external_data_helper as external

    return [t for t in external._get_all_tensors(model) if external.uses_external_data(t)]


def _location(tensor: TensorProto) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
