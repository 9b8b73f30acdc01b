"""Losses and metrics that a user gives: by name or themselves, and what is said where they do not fit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autorep_fx.graph.nested import floats, in_words, leaves, mapped
from autorep_fx.graph.told import Loss, Told, function_of

OUT, TARGET = torch.randn(8, 2, requires_grad=True), torch.randn(8, 2)


def test_a_name_is_of_torch_or_of_a_module_and_a_class_is_made():
    assert function_of("mse_loss", "loss") is F.mse_loss
    assert isinstance(function_of("torch.nn:HuberLoss", "loss"), nn.HuberLoss)
    assert function_of("torch.nn.functional:l1_loss", "metric") is F.l1_loss
    assert function_of(F.l1_loss, "loss") is F.l1_loss


@pytest.mark.parametrize("name, message", [
    ("mse_los", "loss: torch.nn.functional has no 'mse_los'; did you mean 'mse_loss'?"),
    ("Tensor", "has no 'Tensor'"),
    ("nowhere.losses:dice", "loss: 'nowhere.losses:dice' cannot be had: ModuleNotFoundError"),
    ("torch.nn:Nothing", "cannot be had: AttributeError"),
    ("math:pi", "'math:pi' is float, and no function of outputs and targets"),
])  # fmt: skip
def test_a_name_of_nothing_says_what_is_near(name, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        function_of(name, "loss")


@pytest.mark.parametrize("loss, out, target, message", [
    (lambda o, t: (o - t) ** 2, OUT, TARGET,
     r"batch 3: loss '.*' returns float32 \(8, 2\), and a scalar is needed.*\.mean\(\).*add up"),
    (lambda o, t: float(((o - t) ** 2).mean()), OUT, TARGET, "returns a float, and a scalar is needed"),
    (lambda o, t: ((o - t) ** 2).mean().detach(), OUT, TARGET, "without a gradient.*detach"),
    (lambda o, t: (o.argmax(1) == 1).float().mean(), OUT, TARGET, "without a gradient.*argmax"),
    (F.mse_loss, OUT[:, :1], TARGET[:, 0],
     r"'mse_loss' does not take .*float32 \(8, 1\) and float32 \(8,\): one would be spread.*\[:, None\]"),
    (F.binary_cross_entropy_with_logits, OUT, TARGET[:, :1], r"float32 \(8, 2\) and float32 \(8, 1\).*data are made"),
    (lambda o, t: F.mse_loss(o["a"], t), {"b": OUT}, TARGET, r"a dict of b float32 \(8, 2\) and .*'a'"),
    (F.cross_entropy, OUT, (TARGET, 3), r"a tuple of 0 float32 \(8, 2\), 1 a int"),
])  # fmt: skip
def test_a_loss_that_does_not_fit_names_the_batch_the_shapes_and_the_way_out(loss, out, target, message):
    with pytest.raises(ValueError, match=message):
        Loss(loss)(out, target, "batch 3")


def test_a_loss_is_one_number_however_it_is_shaped():
    assert Loss(lambda o, t: F.mse_loss(o, t)[None])(OUT, TARGET, "").shape == ()
    assert Told(lambda o, t: 0.5, "metric").number(OUT, TARGET, "") == 0.5
    with pytest.raises(ValueError, match=r"metric '.*' returns float32 \(8, 2\), not one number"):
        Told(lambda o, t: o, "metric").number(OUT, TARGET, "")


def test_other_warnings_of_a_loss_stay_warnings():
    import warnings

    def loss(output, target):
        warnings.warn("by the way", UserWarning, 2)
        return F.mse_loss(output, target)

    with pytest.warns(UserWarning, match="by the way"):
        Loss(loss)(OUT, TARGET, "")


def test_tensors_in_one_another_keep_their_places():
    from collections import namedtuple

    Pair = namedtuple("Pair", "one other")
    value = {"a": [torch.ones(2), 3], "b": Pair(torch.ones(1).long(), {"c": torch.zeros(())})}
    twice = mapped(lambda part: 2 * part, value)
    assert [name for name, _ in leaves(value)] == ["a.0", "a.1", "b.0", "b.1.c"]
    assert twice["a"][0].tolist() == [2, 2] and twice["a"][1] == 3 and type(twice["b"]) is Pair
    assert len(floats(value)) == 2
    assert in_words(value) == "a dict of a.0 float32 (2,), a.1 a int, b.0 int64 (1,), b.1.c float32 ()"
