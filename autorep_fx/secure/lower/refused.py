"""What two parties cannot do here, why not, and what would do instead."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from ...graph.functions import KeptFunction

_NEIGHBOURS = (
    "divides by a power of what is around each element; train with group norm or nn.LocalResponseNorm in its place, "
    "which are supported"
)
_SOFTMAX = (
    "takes logarithms or signs of what a softmax is of; F.softmax is supported anywhere, and the client does any of "
    "these for free where it is the last thing that the model does"
)
_DEVIATION = "gives two results at once; take x.var(1, keepdim=True) and x.mean(1, keepdim=True), one after the other"
_NORM = (
    "is written otherwise here: x.norm(dim=1) is the Euclidean norm, F.normalize(x) divides by it, and the client may "
    "do either for free where it is the last thing"
)
_EXPONENTIAL = (
    "is no activation that can be compared or replaced; return what goes in and let the client do it, or train with "
    "softplus, elu or a square (x * x) in its place"
)
_WAVE = "is no activation that can be compared or replaced; train with tanh, gelu or a square (x * x) in its place"
COMPARISON = (
    "makes a 0 or 1 of a private comparison; relu(x) is x where x > 0 and 0 elsewhere, leaky_relu(x, a) is a * x "
    "there, and hardsigmoid(x) goes from 0 to 1 with a slope"
)
_ROUNDING = "rounds private values to whole numbers; leave it out, as in training, where it has no gradient either"
_INDEX = (
    "gives places of private values, which are no sums of shares; return the scores, and take .argmax(1) or .topk(k) "
    "of what the client gets, which is free"
)
_RUNNING_MAXIMUM = (
    "compares along an axis step by step; x.amax(dim) and x.amin(dim) are supported, and of two tensors torch.maximum "
    "and torch.minimum"
)
_CLAMP = "is none of the known activations; a + relu(x - a) is x but at least a, and a - relu(a - x) is x but at most a"
_WRITE = "writes into a tensor; use what it writes by itself, torch.cat for parts, or a product with zeros and ones"
_RECURRENT = (
    "is a loop of gates that is kept whole; use Conv1d along the time, or write the steps out with nn.Linear, sigmoid "
    "and tanh"
)
_LOOKUP = (
    "looks up a row by a private number; give rows of zeros and a one (F.one_hot(x, n).float()), and "
    "nn.Linear(n, size, bias=False) whose weight is that of the embedding, transposed"
)
_TWO_INPUTS = "multiplies every pair of its inputs; use a product of two linear layers, self.a(x) * self.b(y)"
_SAMPLING = (
    "samples between elements at places of its own; use F.interpolate, nearest or bilinear, or do it before the run"
)
_CUMULATIVE = (
    "sums up along an axis; it is a product with a matrix of ones and zeros, x @ torch.ones(n, n).triu(). Otherwise "
    "move it outside the model"
)
_PRODUCT = "multiplies along an axis; write the few products out, x[:, 0] * x[:, 1]"
_PRODUCTS = "is a product that is written otherwise here: x @ w, x * w, or torch.einsum with a parameter"
_SUMS = "is a sum of products; write it out, a + w * (b - a) for lerp and x[:, 1:] - x[:, :-1] for diff"
_TRANSFORM = (
    "makes complex numbers; a Fourier transform is a product with a matrix of cosines and one of sines, two linear "
    "layers"
)
_RANDOM = "draws random numbers in eval mode, too; put it behind 'if self.training'"
_PLACES = (
    "moves elements to places that it is given; x[:, places] takes a row of constant ones, and a product with a matrix "
    "of zeros and ones does any such move"
)
_NOT_A_NUMBER = "looks for what is no number, which shares and fixed point do not have; leave it out"
_GATE = "is kept whole, with its sigmoid; write a, b = x.chunk(2, 1) and a * torch.sigmoid(b)"
_SHRINK = "is none of the known activations; write it as relu(x - a) - relu(-x - a)"
_JUMP = "jumps, which no activation here does; train with relu, or with relu(x - a) - relu(-x - a)"
_OF_TANH = "is none of the known activations; write it as x - torch.tanh(x)"
_OF_SOFTPLUS = "is none of the known activations; write it as -F.softplus(-x). As the last thing it is the client's"
_OF_LEAKY = "is none of the known activations; in eval mode it is leaky_relu(x, (lower + upper) / 2)"
_DIVIDING = "divides by private values; train with tanh in its place"
_OWN_GRADIENT = (
    "is a torch.autograd.Function, which is kept whole for its gradient; for a private run write what its forward does "
    "into forward() of a module"
)
_NO_SITE = "is no site; give the model to autorep_fx.transform first, and compile what it returns"
_QUANTIZED = "computes with quantized numbers; compile the floating-point model that it was made from"
_OTHER = "no two-party form; replace it by supported layers or move it outside the model"


def _functions(names: str) -> list[tuple[str, Any]]:
    """Names as methods, in place as well, and as whatever functions of torch have them."""
    spelled = [each for name in names.split() for each in (name, f"{name}_")]
    homes = (torch, F, torch.special, torch.linalg, operator)
    functions = (getattr(home, each, None) for home in homes for each in spelled)
    return [("call_method", each) for each in spelled] + [("call_function", f) for f in functions if callable(f)]


def _modules(names: str) -> list[tuple[str, Any]]:
    return [("call_module", getattr(nn, name)) for name in names.split()]


_FOURIER = [("call_function", getattr(torch.fft, name)) for name in torch.fft.__all__ if "freq" not in name]

#: Reasons, and what they are of.
_TABLE: list[tuple[str, list[tuple[str, Any]]]] = [
    (_NEIGHBOURS, _modules("CrossMapLRN2d")),
    (_SOFTMAX, _modules("LogSoftmax Softmin Softmax2d")),
    (_SOFTMAX, _functions("log_softmax softmin logsumexp gumbel_softmax")),
    (_DEVIATION, _functions("std_mean var_mean")),
    (_NORM, _functions("matrix_norm cosine_similarity pairwise_distance cdist dist renorm")),
    (_NORM, _functions("lp_pool1d lp_pool2d lp_pool3d")),
    (_NORM, _modules("CosineSimilarity PairwiseDistance LPPool1d LPPool2d LPPool3d")),
    (_EXPONENTIAL, _functions("exp exp2 expm1 log log1p log2 log10 logit xlogy sinh cosh")),
    (_WAVE, _functions("sin cos tan asin acos atan atan2 erf erfc sinc erfinv")),
    (COMPARISON, _functions("gt ge lt le eq ne greater less sign sgn heaviside")),
    (COMPARISON, _functions("logical_and logical_or logical_not bitwise_and bitwise_or")),
    (_ROUNDING, _functions("round floor ceil trunc fix frac fmod remainder floordiv mod floor_divide")),
    (_ROUNDING, _functions("int long bool half")),
    (_INDEX, _functions("argmax argmin topk sort argsort kthvalue median mode unique nonzero bincount multinomial")),
    (_INDEX, _functions("searchsorted one_hot")),
    (_RUNNING_MAXIMUM, _functions("aminmax cummax cummin")),
    (_CLAMP, _functions("clamp clamp_min clamp_max clip hardtanh") + _modules("Hardtanh")),
    (_RECURRENT, _modules("RNN LSTM GRU RNNCell LSTMCell GRUCell")),
    (_LOOKUP, _modules("Embedding EmbeddingBag") + _functions("embedding embedding_bag")),
    (_TWO_INPUTS, _modules("Bilinear") + _functions("bilinear")),
    (_SAMPLING, _functions("grid_sample affine_grid max_unpool1d max_unpool2d max_unpool3d")),
    (_SAMPLING, _functions("fractional_max_pool2d fractional_max_pool3d")),
    (_SAMPLING, _modules("FractionalMaxPool2d FractionalMaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d")),
    (_CUMULATIVE, _functions("cumsum logcumsumexp")),
    (_PRODUCT, _functions("prod cumprod")),
    (_PRODUCTS, _functions("inner outer ger dot vdot vecdot kron chain_matmul multi_dot cross addbmm addr")),
    (_SUMS, _functions("lerp addcdiv diff")),
    (_TRANSFORM, _FOURIER + _functions("stft istft view_as_complex view_as_real complex polar")),
    (_RANDOM, _functions("rand_like randn_like randint_like bernoulli normal poisson uniform exponential")),
    (_PLACES, _functions("gather scatter scatter_add scatter_reduce index_add index_copy index_put index_fill take")),
    (_PLACES, _functions("take_along_dim masked_select diag diagonal tril triu rot90 vstack row_stack")),
    (_WRITE, _functions("copy fill zero")),
    (_NOT_A_NUMBER, _functions("isnan isinf isfinite nan_to_num nansum nanmean")),
    (_GATE, _modules("GLU") + _functions("glu")),
    (_SHRINK, _modules("Softshrink") + _functions("softshrink")),
    (_JUMP, _modules("Hardshrink Threshold") + _functions("hardshrink threshold")),
    (_OF_TANH, _modules("Tanhshrink") + _functions("tanhshrink")),
    (_OF_SOFTPLUS, _modules("LogSigmoid") + _functions("logsigmoid")),
    (_OF_LEAKY, _modules("RReLU") + _functions("rrelu")),
    (_DIVIDING, _modules("Softsign") + _functions("softsign")),
    (_NO_SITE, _modules("ReLU ReLU6 LeakyReLU PReLU SiLU GELU Hardswish Hardsigmoid ELU CELU SELU Mish Softplus")),
    (_OWN_GRADIENT, [("call_module", KeptFunction)]),
]  # fmt: skip

#: (node.op, type of the module, or function, or method name) -> why it cannot be lowered, and what to do.
REASONS: dict[tuple[str, Any], str] = {key: reason for reason, keys in _TABLE for key in keys}


def reason(node: fx.Node, key: tuple[str, Any]) -> str:
    """Why a node without a lowering has none, and what would do instead. ``key``: of the table of lowerings."""
    quantized = str(getattr(key[1], "__module__", "")).startswith("torch.ao.nn")
    return _QUANTIZED if quantized else REASONS.get(key, _OTHER)
