"""Every exception and warning that this package raises on purpose; each names the argument or node, and the way out."""


class AutorepError(Exception):
    """Base of all errors of this package."""


class TraceError(AutorepError):
    """The model cannot be turned into a graph, or only into one that would compute something else."""


class CalibrationError(AutorepError, ValueError):
    """The calibration data are empty, not finite, or do not fit the model."""


class CalibrationWarning(UserWarning):
    """Calibration data were used, but not all of them."""


class BudgetError(AutorepError, ValueError):
    """The ReLU budget cannot be met: out of range, or given without what it needs."""


class CompileError(AutorepError):
    """The graph holds something that the two-party runtime cannot run."""


class FormatError(AutorepError, ValueError):
    """A file is not what it should be: another format, another version, another model."""


class PartyError(AutorepError, RuntimeError):
    """A party of a two-party run failed, timed out, or sent something unexpected."""


class PeerLost(PartyError):
    """The other end of a link is gone, so the cause lies with that party."""


class CheckFailed(PartyError):
    """A client's messages did not pass the check of a checked program, or no answer to it came: nothing is answered."""


class Refused(PartyError):
    """A service will not answer now, or not this client.

    Attributes:
        retry_after: seconds after which it may.
    """

    def __init__(self, text: str, retry_after: float):
        super().__init__(text)
        self.retry_after = retry_after


class MissingDependency(AutorepError, ImportError):
    """An optional part (the compiled extension, CrypTen) is not installed."""


class TransformWarning(UserWarning):
    """A model was transformed, and something in it stays what it was."""


class CompileWarning(UserWarning):
    """A program was compiled, and there is something that its user should know."""


class FormatWarning(UserWarning):
    """A file was read, and damage to it could not have been seen."""
