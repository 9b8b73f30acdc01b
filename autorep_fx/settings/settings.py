"""What :func:`~autorep_fx.transform`, :func:`~autorep_fx.finetune` and :func:`~autorep_fx.search` are told.

Every option, its meaning, what it may be and its default: here, and nowhere else. Code gives them as keywords or as one
of these objects, a recipe in its tables, a command as ``--options`` of the same names (options.py has how).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from ..errors import BudgetError
from ..secure.link.network import Network
from .kinds import AtLeastOne, Count, Device, Folder, Fraction, Function, NotNegative, Positive, Range
from .options import Options, options

Degree = Annotated[int, Range(1, 4)]
Fit = Literal["traced", "gaussian"]
Granularity = Literal["element", "channel", "layer"]
Best = Literal["highest", "lowest"]
Initial = Literal["score", "uniform"]
Method = Literal["autorep", "snl"]
Softmax = Literal["kept", "squares"]
NetworkName = Literal["loopback", "lan", "wan"]

#: Options that say what may be left: a count of ReLUs, or limits of what an inference costs.
LIMITS = ("relu_budget", "latency_ms", "offline_mb", "total_ms")


@options
class _Fitted(Options):
    growth: Positive | None = 0.5
    """Bound of the squares where polynomials of degree 2 are fitted to what was traced; None for the plain least
    squares. What it bounds is at :func:`~autorep_fx.hybrid.dapa.fit`."""

    device: Device | None = None
    """Where it is computed: a name of torch, "cpu" or "cuda:1", or a ``torch.device``. The network ends there, data go
    there batch by batch, and models that stay as they are have a copy there; None is where the network is."""

    loss: Function | None = None
    """What outputs and targets come to: a function of both that gives one number, the mean over the batch. Outputs are
    what the network returns, targets what the data have beside the inputs: tensors, or tuples and dicts of them. By
    name it is one of torch.nn.functional, "mse_loss", or "package.module:name". None is cross-entropy, of rows of
    scores and class numbers; where data have no labels, scores of a budget go by the change of the outputs."""

    progress: bool | None = None
    """Show progress bars; None shows them on a terminal, and prints a line an epoch where there is none."""

    def __post_init__(self) -> None:
        if hasattr(self.device, "type"):  # a torch.device
            object.__setattr__(self, "device", str(self.device))
        super().__post_init__()


@options
class _Limited(Options):
    errors: ClassVar[Mapping[str, type[ValueError]]] = dict.fromkeys(LIMITS, BudgetError)

    relu_budget: Count | None = None
    """Elements per sample that keep their activation at the end."""

    latency_ms: Positive | None = None
    """In place of ``relu_budget``: the most milliseconds that a private inference of one sample may take online on
    ``network``, by the plan that :func:`autorep_fx.compile` makes for it."""

    offline_mb: Positive | None = None
    """In place of ``relu_budget``, or beside the other limits: the most megabytes that all parties may send offline for
    a private inference of one sample."""

    total_ms: Positive | None = None
    """In place of ``relu_budget``, or beside the other limits: the most milliseconds that a private inference of one
    sample may take for which nothing is prepared, offline and online together."""

    dealer: bool = True
    """Whether a dealer makes the correlations of the inference that the limits are about, or client and server by
    themselves, which takes longer offline; the plan is made for that then, as by ``compile(dealer=False)``."""

    network: Network | NetworkName = "lan"
    """The link between the parties: a :class:`~autorep_fx.Network`, or "loopback", "lan" or "wan"."""

    granularity: Granularity = "element"
    """What is kept or replaced as one: an "element", a "channel" or a whole "layer"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.relu_budget is not None and len(self.limits) > 1:
            raise BudgetError(
                "give relu_budget, or latency_ms, offline_mb and total_ms, but not both: a count is not a limit"
            )

    @property
    def limits(self) -> dict[str, float]:
        """Those of ``LIMITS`` that are given."""
        return {name: getattr(self, name) for name in LIMITS if getattr(self, name) is not None}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        network = table.get("network")
        return super().from_dict({**table, "network": Network(**network)} if isinstance(network, Mapping) else table)


@options
class _Trained(_Fitted):
    lr: NotNegative = 1e-3
    """Adam's learning rate of the weights. It rises linearly during ``warmup`` and decays by a cosine."""

    warmup: Fraction = 0.05
    """Fraction of all steps in which the learning rates of weights and coefficients rise."""

    coeff_lr: NotNegative | None = None
    """Learning rate of the polynomials' coefficients; None is a tenth of ``lr``. Short runs want more
    (docs/results.md)."""

    coeff_clip: NotNegative = 1.0
    """Upper end of the leading coefficient's range [0, coeff_clip] at degree 2."""

    growth_weight: NotNegative = 0.1
    """Weight of a term of the loss that holds the squares to ``growth`` after they were fitted:
    ``max(0, |c2 x| / growth - 1)**2``, summed over the replaced positions. Without it, or without ``growth``, single
    inputs run away in training."""

    grad_clip: Positive | None = 1.0
    """Largest norm of the gradient of weights and coefficients; None for no limit."""

    temperature: Positive = 4.0
    """Of the distillation, where there is a teacher and the loss is cross-entropy. With another loss outputs are held
    to the teacher's by ``|o - t|^2 / |t|^2``, on average over the tensors that there are."""

    metric: Function | None = None
    """What an epoch reports beside the loss: a function of outputs and targets, as ``loss`` is, that gives a number for
    a batch; the mean over the samples counts. None is the accuracy, or with a ``loss`` that itself."""

    keep_best: Best | None = None
    """End with the weights of the epoch whose metric of the validation is the "highest" or the "lowest", among those
    behind the mask phase and within the limits; None ends with those of the last epoch."""

    feature_weight: NotNegative = 0.0
    """Weight of a term that holds every site's output to the teacher's, ``|f - t|^2 / |t|^2`` on average over the
    sites; the teacher must have the activations of ``gm``."""

    mixed: bool | None = None
    """Compute in bfloat16 where that is safe; None does so on a GPU only. On a CPU without bfloat16 instructions it is
    many times slower."""

    compile: bool = False
    """Train through ``torch.compile``, channels-last: a third faster on a CPU, after a minute or so of compiling for
    each of the two phases of a search; needs a C++ compiler. Rounding differs from the plain run."""

    seed: int = 0
    """Decides everything random in a run."""

    checkpoint_dir: Folder | None = None
    """Folder for a checkpoint every epoch."""

    resume: bool = False
    """Go on from the checkpoint in ``checkpoint_dir``, if there is one, to the same result as without the
    interruption; needs the same options."""

    tensorboard: Folder | None = None
    """Folder for scalars of TensorBoard."""

    def deciding(self) -> dict[str, Any]:
        """Those that decide what a run ends with, in plain types; where it is computed is not among them."""
        aside = ("checkpoint_dir", "resume", "tensorboard", "progress", "device")
        found = {name: value for name, value in self.to_dict().items() if name not in aside}
        if found.get("dealer"):  # as every run was before there was a choice
            del found["dealer"]
        return found


@options
class TransformSettings(_Fitted, _Limited):
    """What :func:`autorep_fx.transform` is told beside the model and its data."""

    degree: Degree = 2
    """Degree of the polynomials."""

    fit: Fit = "traced"
    """The distribution that polynomials are fitted under: the traced one, or a Gaussian with its mean and deviation."""

    reconstruct: bool = False
    """With a limit: change weights and biases, too. It needs the memory for what all calibration data have at one place
    of the graph, four times."""

    softmax: Softmax = "kept"
    """What becomes of a softmax inside the network, that of an attention: it is "kept", or becomes the "squares" of its
    scores over their sum, fitted to the calibration data and trained with the weights, which it needs
    (:mod:`~autorep_fx.hybrid.softmax`)."""


@options
class FinetuneSettings(_Trained):
    """What :func:`autorep_fx.finetune` is told beside the network, the data and a teacher."""

    epochs: AtLeastOne = 5
    """Passes over the training batches in all."""

    ease_in: Fraction = 0.05
    """Fraction of the steps in which squares and lines come in: a replaced position takes a share of them that rises
    from nothing to all, and the activation for the rest. Training data go further than what polynomials were fitted to,
    and squares behind squares run away on single batches until the weights have learned to hold them."""


@options
class SearchSettings(_Trained, _Limited):
    """What :func:`autorep_fx.search` is told beside the network, the data and a teacher.

    One of ``relu_budget``, ``latency_ms``, ``offline_mb`` and ``total_ms`` must be given before the search begins.
    """

    epochs: AtLeastOne = 20
    """Passes over the training batches in all."""

    method: Method = "autorep"
    """How masks are learned: "autorep", or "snl", where replaced positions become the identity."""

    penalty: NotNegative | None = None
    """Lambda of the budget term, as published; None moves the level of AutoReP's gates instead
    (:class:`~autorep_fx.search.methods.AutoRep`). For SNL it is per position, None is 1e-5 (published), and it
    grows."""

    initial: Initial = "score"
    """AutoReP's gates start at the rank of the one-shot score ("score") or uniform in (0, 1) ("uniform", as published).
    SNL's start open."""

    cost: Mapping[str, Positive] | None = None
    """What one kept element of a site counts for in ``relu_budget``, by the name of the site; 1 where it is not
    named."""

    gate_lr: NotNegative | None = None
    """Learning rate of the gates, which stays the same; None is ``lr``, or what crosses their range twice in the mask
    phase, if that is more."""

    mask_phase: Fraction = 0.6
    """Fraction of the steps in which masks move; then they are settled at the budget and fixed."""

    refit_phase: Fraction = 0.3
    """Fraction of the epochs at whose start the polynomials are fitted again to what arrives now."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.limits.keys() - {"relu_budget"}) and (self.method != "autorep" or self.cost):
            raise BudgetError(
                "latency_ms, offline_mb and total_ms are limits for method='autorep', and the plan says what costs"
            )
