"""Any loss, any targets, outputs that are tables: what is trained, what is scored, what an epoch reports."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationError, FormatError
from autorep_fx.graph.batches import Batches
from autorep_fx.graph.nested import floats
from autorep_fx.graph.told import Loss
from autorep_fx.hybrid.scores import scores
from autorep_fx.search.objective import like


class Heads(nn.Module):
    """A class of three and a place of two numbers."""

    def __init__(self, form=dict):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())
        self.kind, self.place, self.form = nn.Linear(24, 3), nn.Linear(24, 2), form

    def forward(self, x):
        x = self.body(x)
        kind, place = self.kind(x), self.place(x)
        return {"kind": kind, "place": place} if self.form is dict else (kind, place)


def heads_loss(output, target):
    return F.cross_entropy(output["kind"], target["kind"]) + F.mse_loss(output["place"], target["place"])


def tuple_loss(output, target):
    return F.cross_entropy(output[0], target[0]) + F.mse_loss(output[1], target[1])


def data(seed=0, count=256):
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return x, {"kind": x[:, :3].argmax(1), "place": (x[:, :2] * x[:, 2:4]).clamp(-2, 2)}


def batches(seed=0, count=256, form=dict):
    x, target = data(seed, count)
    found = [(x[i : i + 64], {name: part[i : i + 64] for name, part in target.items()}) for i in range(0, count, 64)]
    return found if form is dict else [(x, tuple(target.values())) for x, target in found]


def network(form=dict):
    torch.manual_seed(0)
    return Heads(form)


def regression():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))


def floats_of(count=128):
    x, target = data(0, count)
    return [(x[i : i + 64], target["place"][i : i + 64]) for i in range(0, count, 64)]


@pytest.mark.parametrize("form, loss", [(dict, heads_loss), (tuple, tuple_loss)])
@pytest.mark.parametrize("entry, told", [(ar.finetune, {}), (ar.search, {"relu_budget": 9}),
                                         (ar.search, {"latency_ms": 500, "network": "wan"})])  # fmt: skip
def test_several_outputs_and_targets_are_trained(form, loss, entry, told):
    gm = ar.transform(network(form), calibration=batches(form=form), loss=loss)
    history = entry(gm, batches(form=form), batches(1, form=form), loss=loss, epochs=4, lr=0.02, progress=False, **told)
    assert history.loss[-1] < 0.8 * history.loss[0] and history.accuracy == history.val_accuracy == []
    assert history.metric == pytest.approx(history.loss, rel=0.2) and len(history.val_metric) == 4
    if "relu_budget" in told:
        assert ar.relu_count(gm) == 9


def test_a_loss_by_its_name_is_the_function_bit_for_bit():
    ends = []
    for loss in ("mse_loss", F.mse_loss, "torch.nn:MSELoss"):
        gm = ar.transform(regression(), calibration=floats_of(), loss=loss, relu_budget=5)
        history = ar.finetune(gm, floats_of(), loss=loss, epochs=2, progress=False)
        ends.append((history.loss, [value.tolist() for value in gm.state_dict().values()]))
    assert ends[0] == ends[1] == ends[2]


def test_cross_entropy_that_is_told_trains_as_the_default_does():
    x, target = data()
    loader = [(x, target["kind"])]

    def run(**told):
        torch.manual_seed(0)
        gm = ar.transform(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), calibration=x, relu_budget=5)
        return ar.finetune(gm, loader, teacher=network_of_three(), epochs=3, progress=False, **told).loss

    assert run(loss="cross_entropy") == pytest.approx(run(), rel=1e-5)


def network_of_three():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def test_masks_of_classes_are_trained_and_softened():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    x = torch.randn(32, 1, 6, 6)
    mask = (x[:, 0] > 0.5).long() + (x[:, 0] > -0.5).long()
    gm = ar.transform(net, calibration=(x, mask), loss="cross_entropy", relu_budget=40)
    history = ar.finetune(gm, [(x, mask)] * 8, teacher=net, loss="cross_entropy", epochs=6, lr=0.02, progress=False)
    assert history.metric[-1] < 0.8 * history.metric[0]


def test_targets_that_are_no_classes_name_the_option_and_ones_own_loop():
    gm = ar.transform(regression(), calibration=floats_of()[0][0])
    with pytest.raises(ValueError, match="must have an integer tensor of labels.*loss=.*mse_loss.*loop of your own"):
        ar.finetune(gm, floats_of(), epochs=1)
    with pytest.raises(ValueError, match=r"makes the model return a dict of kind float32 \(64, 3\).*loss="):
        ar.finetune(ar.transform(network()), [(x, y["kind"]) for x, y in batches()], epochs=1, progress=False)
    with pytest.raises(CalibrationError, match="has labels and the model returns a dict of kind.*loss="):
        ar.transform(network(), calibration=(data()[0], data()[1]["kind"]), relu_budget=9)
    with pytest.raises(CalibrationError, match=r"needs pairs \(inputs, targets\)"):
        ar.transform(network(), calibration=data()[0], loss=heads_loss, relu_budget=9)


@pytest.mark.parametrize("entry, told", [(ar.finetune, {}), (ar.search, {"relu_budget": 9})])
def test_targets_that_do_not_fit_name_the_batch_and_both_shapes(entry, told):
    x, y = floats_of()[0]
    gm = ar.transform(regression(), calibration=x)
    with pytest.raises(ValueError, match=r"train_loader batch \d: loss 'mse_loss' .*\(64, 2\) and float32 \(64,\)"):
        entry(gm, [(x, y[:, 0])], loss="mse_loss", epochs=1, progress=False, **told)
    with pytest.raises(ValueError, match=r"val_loader batch 0: metric '.*' returns float32 \(64, 2\), not one"):
        entry(gm, [(x, y)], [(x, y)], loss="mse_loss", metric=lambda o, t: o if not o.requires_grad and len(o) == 64
              and not gm.training else 0.0, epochs=1, progress=False, **told)  # fmt: skip
    with pytest.raises(ValueError, match="torch.nn.functional has no 'mse'"):
        entry(gm, [(x, y)], loss="mse", epochs=1, **told)
    with pytest.raises(ValueError, match="keep_best goes by the metric of val_loader"):
        entry(gm, [(x, y)], loss="mse_loss", keep_best="lowest", epochs=1, **told)


class Two(nn.Module):
    """Two heads, of which one has units a thousand times as small; each reads one of two ReLUs."""

    def forward(self, x):
        y = torch.relu(x)
        return {"far": 1000 * y[:, :1], "near": y[:, 1:]}


def test_without_labels_every_output_counts_in_its_own_units():
    torch.manual_seed(0)
    x = torch.randn(4000, 2)
    gm = ar.transform(Two(), calibration=x)
    far, near = scores(gm, Batches(x))["relu"].tolist()
    assert 0.8 < far / near < 1.25


def test_a_loss_decides_what_the_scores_say():
    torch.manual_seed(0)
    x = torch.randn(500, 2)
    gm = ar.transform(Two(), calibration=x)
    target = {"far": torch.randn(500, 1), "near": torch.randn(500, 1)}
    for head, other in ((0, 1), (1, 0)):
        name = ("far", "near")[head]
        loss = Loss(lambda o, t, name=name: F.mse_loss(o[name], t[name]))
        found = scores(gm, Batches((x, target), targets=True), loss=loss)["relu"]
        assert found[head] > 0 and found[other] == 0


def test_scores_by_mean_squares_are_those_of_float_labels():
    x, y = floats_of(64)[0]
    gm = ar.transform(regression(), calibration=x)
    (by_labels,) = scores(gm, Batches([(x, y)])).values()
    loss = Loss(lambda output, target: 2 * F.mse_loss(output, target))  # a sum over the two, a mean over the samples
    (by_loss,) = scores(gm, Batches((x, y), targets=True), loss=loss).values()
    torch.testing.assert_close(by_labels, by_loss, rtol=1e-4, atol=0)


def test_targets_go_with_their_samples_where_one_is_left_out():
    x, target = data(0, 200)
    x[7] *= 1e6
    found = Batches((x, target), leave_out=True, targets=True)
    with pytest.warns(ar.CalibrationWarning, match="1 of 200"):
        (one, its), (two, of_two) = found
    assert len(one) == len(its["kind"]) == 127 and len(two) == len(of_two["place"]) == 72
    assert torch.equal(its["kind"][7], target["kind"][8])
    with pytest.warns(ar.CalibrationWarning), pytest.raises(CalibrationError, match="not one for each of 200"):
        list(Batches((x, {"kind": target["kind"], "boxes": torch.zeros(13, 4)}), leave_out=True, targets=True))


def test_a_metric_is_reported_beside_the_accuracy_or_in_its_place(capsys):
    seen = []
    x, target = data()
    loader = [(x, target["kind"])]
    gm = ar.transform(network_of_three(), calibration=x)
    best_two = lambda o, t: (o.topk(2, 1).indices == t[:, None]).any(1).float().mean()  # noqa: E731
    history = ar.finetune(gm, loader, loader, metric=best_two, epochs=2, on_epoch=seen.append)
    assert list(seen[-1]) == ["epoch", "epochs", "loss", "accuracy", "metric", "relus", "val_accuracy", "val_metric"]
    assert history.val_metric[-1] >= history.val_accuracy[-1] and {*map(type, seen[-1].values())} == {int, float}
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"metric {history.metric[-1]:.4f}, validation {history.val_metric[-1]:.4f}, ReLUs" in line
    gm = ar.transform(regression(), calibration=x)
    ar.finetune(gm, floats_of(), loss="mse_loss", metric="l1_loss", epochs=1, on_epoch=seen.append)
    assert list(seen[-1]) == ["epoch", "epochs", "loss", "metric", "relus"]
    assert "accuracy" not in capsys.readouterr().err


@pytest.mark.parametrize("keep_best, best", [("highest", 3), ("lowest", 2)])
@pytest.mark.parametrize("entry, told", [(ar.finetune, {}), (ar.search, {"relu_budget": 9, "mask_phase": 0.3})])
def test_the_best_epoch_by_the_metric_is_what_remains(tmp_path, keep_best, best, entry, told):
    values, states, gm = iter([0.9, 0.1, 0.7, 0.5]), [], ar.transform(regression(), calibration=floats_of()[0][0])

    def metric(output, target):
        if gm.training:
            return 0.0
        states.append({name: value.clone() for name, value in gm.state_dict().items()})
        return next(values)

    if entry is ar.finetune:
        told, best = {"ease_in": 0.5}, best  # the first epoch is no candidate there either
    run = {"loss": "mse_loss", "metric": metric, "keep_best": keep_best, "epochs": 4, "progress": False, **told}
    history = entry(gm, floats_of(), floats_of()[:1], checkpoint_dir=tmp_path, **run)
    assert history.best == best and history.val_metric == [0.9, 0.1, 0.7, 0.5]
    assert all(torch.equal(value, states[best - 1][name]) for name, value in gm.state_dict().items())
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert saved["best"]["epoch"] == best and saved["run"]["metric"].endswith("metric")


def test_a_run_with_another_loss_does_not_go_on_from_a_checkpoint(tmp_path):
    gm = ar.transform(regression(), calibration=floats_of()[0][0])
    ar.finetune(gm, floats_of(), loss="mse_loss", epochs=1, checkpoint_dir=tmp_path, progress=False)
    with pytest.raises(FormatError, match="loss is mse_loss there and l1_loss here"):
        ar.finetune(gm, floats_of(), loss="l1_loss", epochs=1, checkpoint_dir=tmp_path, resume=True, progress=False)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", [dict, tuple])
def test_a_teacher_of_two_heads_holds_the_student_to_both(seed, form):
    torch.manual_seed(seed)
    teacher, student = ar.transform(Heads(form)), ar.transform(Heads(form), calibration=data(seed)[0])
    x = data(seed + 10)[0]

    def off():
        with torch.no_grad():
            pairs = zip(*(part.values() if form is dict else part for part in (student(x), teacher(x))))
            return [float((mine - theirs).square().sum() / theirs.square().sum()) for mine, theirs in pairs]

    before = off()
    nothing = lambda output, target: 0.0 * sum(part.sum() for part in floats(output))  # noqa: E731
    ar.finetune(student, batches(seed, form=form), teacher=teacher, loss=nothing, epochs=10, lr=0.02, progress=False)
    assert all(now < 0.3 * then for now, then in zip(off(), before, strict=True))


def test_what_a_teacher_returns_beyond_the_student_does_not_count():
    one, two, more = torch.ones(4, 3), torch.ones(4, 2), torch.ones(4, 9)
    student = {"kind": one, "place": two}
    found = like({"aux": more, "place": 2 * two, "kind": one}, student)
    assert list(found) == ["kind", "place"] and torch.equal(found["place"], 2 * two)
    assert torch.equal(like({"a": one, "b": two}, (one, two))[1], two)
    with pytest.raises(ValueError, match=r"teacher returns a dict of kind .* without 'place', where gm returns a dict"):
        like({"kind": one}, student)
    with pytest.raises(ValueError, match=r"teacher returns float32 \(4, 9\) for 'place' where gm returns .*\(4, 2\)"):
        like({"kind": one, "place": more}, student)
    with pytest.raises(ValueError, match="teacher returns a tuple of 0 float32"):
        like((one,), (one, two))


def test_budgets_are_planned_for_several_outputs():
    plan = ar.plan_budgets(network(), data()[0], networks=("wan",), shares=(1.0, 0.1), progress=False)
    told = ar.plan_budgets(network(), data(), networks=("wan",), shares=(1.0, 0.1), loss=heads_loss, progress=False)
    assert plan.points[0].relus == told.points[0].relus == 48 and plan.points[1].loss != told.points[1].loss > 0


def test_functions_are_kept_by_their_names():
    told = ar.FinetuneSettings(loss=F.mse_loss, metric="l1_loss")
    assert json.loads(json.dumps(told.to_dict()))["loss"] == "torch.nn.functional:mse_loss"
    assert repr(told) == "FinetuneSettings(loss=<mse_loss>, metric='l1_loss')"
    assert ar.FinetuneSettings.from_dict(told.to_dict()).metric == "l1_loss"
    for wrong in (3, "mse loss", ""):
        with pytest.raises(
            ValueError, match="loss must be a text such as mse_loss or package.module:name or a function"
        ):
            ar.SearchSettings(loss=wrong)
