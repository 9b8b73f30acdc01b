"""Loaders that cannot be used are named, with the batch and the way out."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import autorep_fx as ar

X, Y = torch.randn(8, 4, 4), torch.arange(8) % 3


class _Endless(IterableDataset):
    def __iter__(self):
        yield X[0], Y[0]


GOOD = [(X, Y), (X, Y)]
BAD = [
    ((batch for batch in GOOD), r"LOADER is a generator, .*DataLoader, or list\(LOADER\)"),
    (zip([X], [Y]), "LOADER is a zip, which can be walked once only"),
    ([], "LOADER has no batches"),
    (DataLoader(TensorDataset(X, Y), batch_size=16, drop_last=True), "LOADER has no batches; one that drops"),
    ({"x": X, "y": Y}, "LOADER must be a DataLoader or a list of batches .*, got a dict"),
    (X, "LOADER must be a DataLoader or a list of batches .*, got a Tensor"),
    (3, "LOADER must be a DataLoader"),
    ([{"image": X, "label": Y}], "LOADER batch 0 is a dict; it must be a pair .*collate_fn"),
    ([X], "LOADER batch 0 is a Tensor; it must be a pair"),
    ([(X, Y, Y)], "LOADER batch 0 is a tuple of 3"),
    ([(X, Y), (X[:0], Y[:0])], "LOADER batch 1 must have a floating-point tensor"),
    ([(X.long(), Y)], "LOADER batch 0 must have a floating-point tensor .*int64"),
    ([(X, Y.float())], "LOADER batch 0 must have an integer tensor of labels, got a torch.float32 tensor"),
    ([(X, Y.bool())], "LOADER batch 0 must have an integer tensor of labels"),
    ([(X, Y.tolist())], "LOADER batch 0 must have an integer tensor of labels, got a list"),
    ([(X, Y[:, None])], r"LOADER batch 0 must have labels of shape \(8,\).*flatten\(\)"),
    ([(X, nn.functional.one_hot(Y))], r"LOADER batch 0 must have labels of shape \(8,\).*argmax\(1\)"),
    ([(X, Y[:7])], r"LOADER batch 0 must have labels of shape \(8,\)"),
    ([(X, Y), (X, Y + 1)], "LOADER batch 1 has labels from 1 to 3, and the model has 3 classes: 0 to 2 is allowed"),
    ([(X, Y - 1)], "LOADER batch 0 has labels from -1 to 1"),
]


def _network(*, calibrated=True):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    return ar.transform(net, calibration=X if calibrated else None)


def _run(entry, *loaders):
    budget = {"relu_budget": 2} if entry is ar.search else {}
    return entry(_network(), *loaders, epochs=1, progress=False, **budget)


@pytest.mark.parametrize("entry", [ar.finetune, ar.search])
@pytest.mark.parametrize("loader,message", BAD, ids=[m[:40] for _, m in BAD])
def test_bad_loaders_are_named(entry, loader, message):
    with pytest.raises(ValueError, match=message.replace("LOADER", "train_loader")):
        _run(entry, loader)
    with pytest.raises(ValueError, match=message.replace("LOADER", "val_loader")):
        _run(entry, GOOD, loader)


def test_a_validation_loader_is_looked_at_before_an_epoch_is_spent():
    class Counted(list):
        walks = 0

        def __iter__(self):
            self.walks += 1
            return super().__iter__()

    train = Counted(GOOD)
    with pytest.raises(ValueError, match="val_loader batch 0"):
        _run(ar.finetune, train, [X])
    assert train.walks == 0


def test_only_the_training_loader_needs_a_length():
    unknown = DataLoader(_Endless(), batch_size=1)
    with pytest.raises(ValueError, match="train_loader has no length.*__len__"):
        _run(ar.finetune, unknown)
    assert len(_run(ar.finetune, GOOD, unknown).val_accuracy) == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_any_integer_type_train_alike(dtype):
    loader = [(x, y.to(dtype)) for x, y in GOOD]
    assert _run(ar.finetune, loader, loader) == _run(ar.finetune, GOOD, GOOD)


def test_one_sample_before_a_batch_norm():
    gm = ar.transform(nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3), nn.ReLU()), example_inputs=X)
    with pytest.raises(ValueError, match="train_loader batch 1 has one sample.*drop_last=True"):
        ar.finetune(gm, [(X, Y), (X[:1], Y[:1])], epochs=1, progress=False)
    gm = _network()  # no batch norm: one sample is a batch like another
    assert len(ar.finetune(gm, [(X, Y), (X[:1], Y[:1])], epochs=1, progress=False).loss) == 1


def test_outputs_and_teachers_that_cannot_be_compared():
    with pytest.raises(ValueError, match=r"batch 0 makes the model return .*\(8, 4, 4\); logits \(8, classes\)"):
        ar.finetune(ar.transform(nn.Sequential(nn.ReLU()), example_inputs=X), GOOD, epochs=1, progress=False)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    with pytest.raises(ValueError, match=r"teacher returns logits of shape \(8, 1\) where gm returns \(8, 3\)"):
        ar.finetune(_network(), GOOD, teacher=teacher, epochs=1, progress=False)


class Returns(nn.Module):
    """A teacher whose forward() returns more than logits."""

    def __init__(self, made):
        super().__init__()
        self.net, self.made = _network(), made

    def forward(self, x):
        return self.made(self.net(x), x)


RETURNED = {
    "logits of a dict": lambda y, x: {"hidden": y * 9, "logits": y},
    "the one that fits, of a dict": lambda y, x: {"hidden": x, "out": y, "none": None},
    "of a tuple": lambda y, x: (x, y),
    "of a list of one": lambda y, x: [y],
    "beside one of integers": lambda y, x: (y.long(), y),
}


@pytest.mark.parametrize("made", RETURNED.values(), ids=RETURNED)
def test_a_teacher_may_return_more_than_logits(made):
    trained = [_network(), _network()]
    for gm, teacher in zip(trained, (Returns(made), Returns(lambda y, x: y))):
        ar.finetune(gm, GOOD, teacher=teacher, epochs=1, progress=False)
    for mine, theirs in zip(*(gm.state_dict().values() for gm in trained)):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("made, message", [
    (lambda y, x: (y, y * 2), r"a tuple with 0 of shape \(8, 3\), 1 of .*, of which 2 have the shape of what gm"),
    (lambda y, x: {"hidden": x}, r"a dict with 'hidden' of .*, of which 0 have .* returns the logits alone"),
    (lambda y, x: (None,), "a tuple with no tensor"),
    (lambda y, x: "logits", "teacher returns a str, not logits"),
    (lambda y, x: {"logits": y[:, :1]}, r"teacher returns logits of shape \(8, 1\) where gm returns \(8, 3\)"),
])  # fmt: skip
def test_a_teacher_that_returns_nothing_to_compare_is_named(made, message):
    with pytest.raises(ValueError, match=message):
        ar.finetune(_network(), GOOD, teacher=Returns(made), epochs=1, progress=False)
