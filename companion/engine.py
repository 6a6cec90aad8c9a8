"""Training and prediction: one loop for every network of the book. Book: Part 2, the training loop, writes it out.

``fit`` adds to that loop what a long run needs: device, number format, several processes, the development set, early
stopping, checkpoints and exact resume. The method stays the loop's: in float32 it leaves the same weights, to the bit.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from companion import checks, distributed, progress
from companion.checks import TrainingError
from companion.hardware import Hardware
from companion.resume import Run

Loss = Callable[[Tensor, Tensor], Tensor]
"""A function of outputs (N, ...) and targets (N, ...) that returns the mean over the cases, a scalar.

Class numbers that it leaves out (``ignore_index``, by default -100) do not count. A mean that weights classes is not
one over the cases: several processes then come near a single one, but not to the digit."""

Metric = Callable[[Tensor, Tensor], float]
"""A function of outputs (N, ...) and targets (N, ...) of a whole set that returns a number."""

Pairs = Iterable[tuple[Tensor, Tensor]]
"""Mini-batches (inputs, targets) such as ``datasets.batches.Batches``, a ``DataLoader`` or a list."""


@dataclass(frozen=True)
class Development:
    """The development set, looked at after each epoch and never learnt from.

    Args:
        batches: of the set, in the same order each time.
        metrics: by name, computed on the whole set beside the loss.
        patience: stop after that many epochs without a lower loss, and go back to the best weights (early stopping);
            None to train to the end.

    Raises:
        ValueError: where the patience is below 1.
    """

    batches: Pairs
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    patience: int | None = None

    def __post_init__(self):
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is {self.patience}, but must be at least 1 epoch; None for no early stopping")


def train_epoch(model: nn.Module, batches: Pairs, loss: Loss, optimiser: Optimizer, hardware: Hardware) -> float:
    """Go through the training set once, one update of the parameters for each mini-batch; returns the mean loss.

    Raises:
        ValueError: where there is no mini-batch.
        TrainingError: where the loss is NaN or infinite.
    """
    model.train()
    autocast, count = hardware.autocast(), checks.counter(batches, loss)
    losses, counts = [], []
    for inputs, targets in batches:
        inputs, targets = hardware.move(inputs), hardware.move(targets)
        with autocast:
            value = loss(model(inputs), targets)
        counts.append(count(targets))
        optimiser.zero_grad()
        distributed.weighted(value, counts[-1]).backward()
        optimiser.step()
        losses.append(value.detach())
    if not losses:
        raise ValueError("the training set gives no batch: it is empty, or can be gone through only once (a generator)")
    n = torch.tensor([float(c) for c in counts], device=hardware.device)
    return _finite((distributed.total(torch.stack(losses).float() @ n) / distributed.total(n.sum())).item())


@torch.no_grad()
def predict(model: nn.Module, batches: Pairs, hardware: Hardware | None = None) -> tuple[Tensor, Tensor]:
    """Outputs of a network in evaluation mode, and the targets: (N, ...) each, on the CPU.

    Under torchrun each process gets those of all, in one order for both, and each case once.
    """
    hardware = hardware or Hardware.best()
    model.to(hardware.device).eval()
    outputs, targets = [], []
    for x, y in batches:                                  # of a small batch, a process may have an empty share
        with hardware.autocast():
            outputs.append(model(hardware.move(x)).float())
        targets.append(y.to(hardware.device))
    if not sum(map(len, outputs)) and distributed.world() == 1:
        raise ValueError("there is no case to predict: the loader is empty")
    return distributed.gather(torch.cat(outputs)).cpu(), distributed.gather(torch.cat(targets)).cpu()


def evaluate(model: nn.Module, development: Development, loss: Loss, hardware: Hardware) -> dict[str, float]:
    """Loss and metrics on the development set, by name: the loss on the network's device, metrics on the CPU.

    Raises:
        TrainingError: where the loss is NaN or infinite.
    """
    with checks.explained("development"):
        outputs, targets = predict(model, development.batches, hardware)
        value = float(loss(outputs.to(hardware.device), targets.to(hardware.device)))
    return {"development loss": _finite(value, "development loss"),
            **{name: float(metric(outputs, targets)) for name, metric in development.metrics.items()}}


def fit(model: nn.Module, loss: Loss, optimiser: Optimizer, train: Pairs, epochs: int, *,
        development: Development | None = None, schedule: LRScheduler | None = None, folder: str | Path | None = None,
        hardware: Hardware | None = None) -> list[dict[str, float]]:
    """Train a network in place; returns one record for each epoch, as plain data.

    Args:
        train: mini-batches of the training set; an order drawn anew each epoch comes from their ``generator``.
        epochs: times to go through it.
        development: what to look at after each epoch, and when to stop early.
        schedule: changes the learning rate after each epoch; ``ReduceLROnPlateau`` by the development loss.
        folder: keeps a checkpoint of the last epoch. Called again with the same folder, a run that was cut off goes on
            and ends with the weights it would have had (on the CPU to the bit, but for a ``DataLoader`` with persistent
            workers). With several nodes, one they share.
        hardware: by default what suits the machine.

    Returns:
        Records such as ``{"epoch": 1, "train loss": 0.7, "development loss": 0.6, "accuracy": 0.5}``, the resumed
        epochs included.

    Raises:
        ValueError: for an empty loader, labels out of range, inputs that do not fit the network, each found before
            training where the set is a ``Batches`` or a list; for sets that several processes would not share, for a
            plateau schedule without a development set, and for a network that a checkpoint can not hold as a whole.
        TrainingError: where the loss, also that of the development set, or a parameter becomes NaN or infinite; with a
            folder, the network is put back to its last good state, which the folder keeps too.
        CheckpointError: where the folder can not be written to, is in use by a run, is not shared by all processes, or
            holds a damaged or another run's checkpoint: of other layers, optimiser, schedule, settings or labels.
    """
    hardware = hardware or Hardware.best()
    hardware.prepare(model)
    if isinstance(schedule, ReduceLROnPlateau) and development is None:
        raise ValueError("ReduceLROnPlateau waits for the development loss, but there is no development set: give one")
    checks.require_sense(model, "training", train, loss, hardware)
    if development is not None:
        checks.require_sense(model, "development", development.batches, loss, hardware)
    run = Run(model, optimiser, schedule, train, development and development.patience)
    with run.in_folder(folder), progress.line(epochs, len(run.history)) as line:
        parallel = distributed.wrap(model)
        while len(run.history) < epochs and not run.stalled():
            try:
                run.begin_epoch()
                with checks.explained("training"):
                    record = {"epoch": len(run.history) + 1,
                              "train loss": train_epoch(parallel, train, loss, optimiser, hardware)}
                distributed.share_buffers(model)
                _require_finite(model)
                if development is not None:
                    record |= evaluate(model, development, loss, hardware)
            except TrainingError:
                run.go_back()
                raise
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(record["development loss"])
            elif schedule is not None:
                schedule.step()
            run.keep(record)
            line.step(", ".join(f"{name} {value:.3g}" for name, value in record.items() if name != "epoch"))
    if run.best:
        model.load_state_dict(run.best)
    return run.history


def _finite(loss: float, name: str = "loss") -> float:
    if not math.isfinite(loss):
        raise TrainingError(f"the {name} is {loss}: lower the learning rate, and look for values in the inputs or "
                            "targets that are not finite, and for a mini-batch without a label that counts")
    return loss


def _require_finite(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise TrainingError(f"the parameter {name} holds NaN or infinite values after this epoch: lower the "
                                "learning rate")
