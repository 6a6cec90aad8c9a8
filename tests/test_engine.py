"""The training loop: equal to one written out, exact after any interruption, clear about what is wrong."""

import json

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from companion import checkpoints, engine
from companion.datasets.batches import Batches
from companion.hardware import Hardware

CPU = Hardware(torch.device("cpu"))
EXACT = {"rtol": 0, "atol": 0}


def data(n=22, classes=3):
    """Points in classes that a small network can learn, with a network for them that has every kind of state."""
    g = torch.Generator().manual_seed(1)
    y = torch.arange(n) % classes
    return torch.randn(n, 4, generator=g) + 2 * nn.functional.one_hot(y, 4), y


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def pieces(size=8):
    model = network()
    return (model, torch.optim.Adam(model.parameters(), lr=0.01),
            Batches(*data(), size, torch.Generator().manual_seed(2)))


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


def test_fit_leaves_the_weights_of_the_bare_loop():
    model, optimiser, train = pieces()
    torch.manual_seed(3)
    for _ in range(4):
        for x, y in train:
            value = cross_entropy(model(x), y)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    fitted, optimiser, train = pieces()
    torch.manual_seed(3)
    engine.fit(fitted, cross_entropy, optimiser, train, 4, hardware=CPU)
    assert_close(fitted.state_dict(), model.state_dict(), **EXACT)


def test_train_loss_is_the_mean_over_the_cases(device):
    model = nn.Linear(4, 3)
    x, y = data(7)
    batches = Batches(x, y, 3, torch.Generator())                     # batches of 3, 3 and 1
    idle = torch.optim.SGD(model.parameters(), lr=0.0)
    expected = cross_entropy(model(x), y).item()
    history = engine.fit(model, cross_entropy, idle, batches, 1, hardware=Hardware(device))
    assert history[0]["train loss"] == pytest.approx(expected, rel=1e-5)


def test_history_is_plain_data_with_development_and_metrics():
    model, optimiser, train = pieces()
    watch = engine.Development(Batches(*data(9), 4), {"accuracy": accuracy})
    history = engine.fit(model, cross_entropy, optimiser, train, 2, development=watch, hardware=CPU)
    assert json.loads(json.dumps(history)) == history
    assert [set(h) for h in history] == [{"epoch", "train loss", "development loss", "accuracy"}] * 2
    outputs, targets = engine.predict(model, watch.batches, CPU)
    assert history[-1]["development loss"] == pytest.approx(cross_entropy(outputs, targets).item())
    assert history[-1]["accuracy"] == pytest.approx(accuracy(outputs, targets).item())


def test_predict_keeps_order_and_uses_evaluation_mode(device):
    model = network().to(device)
    x, y = data()
    outputs, targets = engine.predict(model, Batches(x, y, 5), Hardware(device))
    assert_close(outputs, model.eval()(x.to(device)).detach().cpu())
    assert_close(targets, y)
    assert outputs.device == targets.device == torch.device("cpu") and not outputs.requires_grad


def test_early_stopping_goes_back_to_the_best_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    train = [(torch.ones(4, 1), torch.full((4, 1), 10.0))]            # pulls the weight to 10
    watch = engine.Development([(torch.ones(4, 1), torch.full((4, 1), 3.0))], patience=2)     # best at 3
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)          # 1.0, 1.9, 2.71, 3.44, 4.10
    history = engine.fit(model, nn.functional.mse_loss, optimiser, train, 20, development=watch, hardware=CPU)
    assert len(history) == 5
    assert model.weight.item() == pytest.approx(2.71)


def test_schedule_is_stepped_once_an_epoch():
    model, optimiser, train = pieces()
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.5)
    engine.fit(model, cross_entropy, optimiser, train, 3, schedule=schedule, hardware=CPU)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.01 / 8)


def test_a_data_loader_serves_as_well():
    def fitted(train):
        model = network()
        torch.manual_seed(5)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        engine.fit(model, cross_entropy, optimiser, train, 2, hardware=CPU)
        return model.state_dict()

    in_order = [(x, y) for x, y in Batches(*data(), 8)]
    loader = DataLoader(TensorDataset(*data()), 8, generator=torch.Generator())     # else it draws from torch's stream
    assert_close(fitted(loader), fitted(in_order))


def test_nan_is_an_error_and_the_last_good_state_is_kept(tmp_path):
    model, optimiser, train = pieces()
    engine.fit(model, cross_entropy, optimiser, train, 1, folder=tmp_path, hardware=CPU)
    good = {k: v.clone() for k, v in model.state_dict().items()}
    train.inputs[3, 0] = float("nan")
    with pytest.raises(engine.TrainingError, match="loss is nan: lower the learning rate"):
        engine.fit(model, cross_entropy, optimiser, train, 3, folder=tmp_path, hardware=CPU)
    assert_close(model.state_dict(), good, **EXACT)
    assert len(checkpoints.read(tmp_path)[1]["history"]) == 1


def test_infinite_parameters_are_an_error_even_after_a_finite_loss(tmp_path):
    model, _, train = pieces()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    one_batch = Batches(*data(), 22, torch.Generator())            # its loss is taken before the only update
    with pytest.raises(engine.TrainingError, match="parameter 0.weight holds NaN or infinite values"):
        engine.fit(model, lambda outputs, y: 1e9 * cross_entropy(outputs, y),
                   torch.optim.SGD(model.parameters(), lr=1e35), one_batch, 1, folder=tmp_path, hardware=CPU)
    assert_close(model.state_dict(), before, **EXACT)
    assert checkpoints.read(tmp_path)[1]["history"] == []


def test_an_infinite_development_loss_is_an_error(tmp_path):
    model, optimiser, train = pieces()
    watch = engine.Development([(torch.full((4, 4), float("inf")), torch.zeros(4, dtype=torch.int64))])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(engine.TrainingError, match="the development loss is nan"):
        engine.fit(model, cross_entropy, optimiser, train, 1, development=watch, folder=tmp_path, hardware=CPU)
    assert_close(model.state_dict(), before, **EXACT)


def test_mistakes_are_found_before_training(tmp_path):
    model, optimiser, train = pieces()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, y = data()
    wrong = [(DataLoader(TensorDataset(x, y), 50, drop_last=True), "training set gives no batch"),
             (Batches(x, y + 1, 8, torch.Generator()), "training set run from 1 to 3, but the network has 3 outputs"),
             (Batches(x, y - 1, 8, torch.Generator()), "labels of the training set run from -1"),
             (Batches(x[:, :2], y, 8, torch.Generator()), r"can not take inputs of shape \(2, 2\) of the training set")]
    for batches, says in wrong:
        with pytest.raises(ValueError, match=says):
            engine.fit(model, cross_entropy, optimiser, batches, 1, hardware=CPU)
    with pytest.raises(ValueError, match="development set gives no batch"):
        engine.fit(model, cross_entropy, optimiser, train, 1, development=engine.Development([]), hardware=CPU)
    with pytest.raises(ValueError, match="patience is 0"):
        engine.Development(train, patience=0)
    with pytest.raises(ValueError, match="no case to predict"):
        engine.predict(model, [], CPU)
    for other, says in ((Batches(x, y + 1, 8), "labels of the development set run from 1 to 3"),
                        ([(x[:, :2], y)], r"\(2, 2\) of the development set"),
                        ([(x, y), (x, y + 1)], "development set run from 0 to 3")):
        with pytest.raises(ValueError, match=says):
            engine.fit(model, cross_entropy, optimiser, train, 1, development=engine.Development(other), hardware=CPU)
    (tmp_path / "file").write_text("")
    with pytest.raises(checkpoints.CheckpointError, match="can not be written to"):
        engine.fit(model, cross_entropy, optimiser, train, 1, folder=tmp_path / "file", hardware=CPU)
    assert_close(model.state_dict(), before, **EXACT)


def test_mistakes_in_a_loader_say_where_they_are():
    model, optimiser, _ = pieces()
    x, y = data()
    for batches, error in ((DataLoader(TensorDataset(x, y + 1), 8), IndexError),
                           (DataLoader(TensorDataset(x[:, :2], y), 8), RuntimeError)):
        with pytest.raises(error) as caught:
            engine.fit(model, cross_entropy, optimiser, batches, 1, hardware=CPU)
        assert "a batch of the training set" in caught.value.__notes__[0]
    train = Batches(x, y, 8, torch.Generator())
    with pytest.raises(IndexError) as caught:
        engine.fit(model, cross_entropy, optimiser, train, 1, hardware=CPU,
                   development=engine.Development(DataLoader(TensorDataset(x, y + 1), 8)))
    assert "a batch of the development set" in caught.value.__notes__[0]


def test_what_can_be_gone_through_only_once_is_an_error():
    model, optimiser, train = pieces()
    with pytest.raises(ValueError, match="training set gives no batch.*only once"):
        engine.fit(model, cross_entropy, optimiser, iter(train), 2, hardware=CPU)


def test_train_loss_is_the_mean_over_the_labels_that_count():
    x, y = data()
    for missing, loss in ((-100, nn.CrossEntropyLoss()), (255, nn.CrossEntropyLoss(ignore_index=255))):
        labels = torch.where(torch.arange(len(y)) < 7, missing, y)
        model = nn.Linear(4, 3)
        expected = loss(model(x), labels).item()
        idle = torch.optim.SGD(model.parameters(), lr=0.0)
        history = engine.fit(model, loss, idle, Batches(x, labels, 8), 1, hardware=CPU)
        assert history[0]["train loss"] == pytest.approx(expected, rel=1e-5)


def test_targets_that_are_no_class_numbers_are_allowed():
    x, y = data()
    one, several = nn.Linear(4, 1), nn.Linear(4, 3)
    yes_or_no = nn.functional.binary_cross_entropy_with_logits
    for model, loss, targets in ((one, lambda o, t: yes_or_no(o[:, 0], t.float()), y % 2),
                                 (one, lambda o, t: nn.functional.mse_loss(o[:, 0], t.float()), 50 * y),
                                 (several, lambda o, t: yes_or_no(o, t.float()), nn.functional.one_hot(y).bool())):
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
        assert engine.fit(model, loss, optimiser, Batches(x, targets, 8), 1, hardware=CPU)


def test_a_loss_may_hold_weights_on_the_device(device):
    model = nn.Linear(4, 3)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2, 3], device=device))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    assert engine.fit(model, loss, optimiser, Batches(*data(), 8), 1, development=engine.Development([data()]),
                      hardware=Hardware(device))


def test_a_stream_without_a_length_serves_as_well():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(list(zip(*data(), strict=True)))

    model, optimiser, _ = pieces()
    assert engine.fit(model, cross_entropy, optimiser, DataLoader(Stream(), 8), 2, hardware=CPU)


def test_an_error_of_a_metric_is_not_blamed_on_the_batch():
    def broken(outputs, targets):
        raise RuntimeError("mine")

    model, optimiser, train = pieces()
    with pytest.raises(RuntimeError, match="mine") as caught:
        engine.fit(model, cross_entropy, optimiser, train, 1, hardware=CPU,
                   development=engine.Development([data()], {"broken": broken}))
    assert not getattr(caught.value, "__notes__", [])


def test_ignored_labels_are_allowed():
    x, y = data()
    y = torch.where(torch.arange(len(y)) == 0, -100, y)
    model, optimiser, _ = pieces()
    assert engine.fit(model, cross_entropy, optimiser, Batches(x, y, 8, torch.Generator()), 1, hardware=CPU)


def test_a_plateau_schedule_looks_at_the_development_loss():
    model, optimiser, train = pieces()
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.1, patience=0, threshold=10)
    with pytest.raises(ValueError, match="waits for the development loss"):
        engine.fit(model, cross_entropy, optimiser, train, 1, schedule=plateau, hardware=CPU)
    engine.fit(model, cross_entropy, optimiser, train, 3, schedule=plateau, hardware=CPU,
               development=engine.Development([data()]))
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.01 * 0.1**3)      # no epoch is 10 x better


@pytest.mark.parametrize("hardware", [Hardware(torch.device("cpu"), channels_last=True),
                                      Hardware(torch.device("cpu"), torch.bfloat16)])
def test_layout_and_precision_change_only_digits(hardware):
    def run(hardware):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
        g = torch.Generator().manual_seed(0)
        x, y = torch.randn(16, 1, 8, 8, generator=g), torch.arange(16) % 2
        history = engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1),
                             Batches(x, y, 8, torch.Generator().manual_seed(0)), 3, hardware=hardware)
        assert all(p.dtype == torch.float32 for p in model.parameters())
        return [h["train loss"] for h in history]

    assert run(hardware) == pytest.approx(run(CPU), rel=0.03 if hardware.precision else 1e-5)
    assert run(hardware)[-1] < run(hardware)[0]
