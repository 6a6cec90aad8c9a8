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
from torch.optim.lr_scheduler import LRScheduler

from companion import checkpoints, distributed, progress
from companion.hardware import Hardware

Loss = Callable[[Tensor, Tensor], Tensor]
"""A function of outputs (N, ...) and targets (N, ...) that returns the mean over the cases, a scalar."""

Metric = Callable[[Tensor, Tensor], float]
"""A function of outputs (N, ...) and targets (N, ...) of a whole set that returns a number."""

Pairs = Iterable[tuple[Tensor, Tensor]]
"""Mini-batches (inputs, targets) such as ``datasets.batches.Batches``, a ``DataLoader`` or a list."""

IGNORED = -100   # the class number that torch's cross entropy leaves out


class TrainingError(RuntimeError):
    """The loss is no longer a number."""


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
        TrainingError: where that is NaN or infinite.
    """
    model.train()
    losses, cases = [], []
    for inputs, targets in batches:
        inputs, targets = hardware.move(inputs), hardware.move(targets)
        with hardware.autocast():
            value = loss(model(inputs), targets)
        optimiser.zero_grad()
        distributed.weighted(value, len(inputs)).backward()
        optimiser.step()
        losses.append(value.detach())
        cases.append(len(inputs))
    n = torch.tensor(cases, dtype=torch.float32, device=hardware.device)
    return _finite((distributed.total(torch.stack(losses).float() @ n) / distributed.total(n.sum())).item())


@torch.no_grad()
def predict(model: nn.Module, batches: Pairs, hardware: Hardware | None = None) -> tuple[Tensor, Tensor]:
    """Outputs of a network in evaluation mode, and the targets: (N, ...) each, on the CPU.

    Under torchrun each process gets those of all, in one order for both, and each case once.
    """
    hardware = hardware or Hardware.best()
    model.to(hardware.device).eval()
    outputs, targets = [], []
    for x, y in batches:
        if len(x):                                                       # a share of a small last batch may be empty
            with hardware.autocast():
                outputs.append(model(hardware.move(x)).float())
            targets.append(y.to(hardware.device))
    if not outputs:
        raise ValueError("there is no case to predict: the loader is empty")
    return distributed.gather(torch.cat(outputs)).cpu(), distributed.gather(torch.cat(targets)).cpu()


def evaluate(model: nn.Module, development: Development, loss: Loss, hardware: Hardware) -> dict[str, float]:
    """Loss and metrics on the development set, by name."""
    outputs, targets = predict(model, development.batches, hardware)
    return {"development loss": float(loss(outputs, targets)),
            **{name: float(metric(outputs, targets)) for name, metric in development.metrics.items()}}


def fit(model: nn.Module, loss: Loss, optimiser: Optimizer, train: Pairs, epochs: int, *,
        development: Development | None = None, schedule: LRScheduler | None = None, folder: str | Path | None = None,
        hardware: Hardware | None = None) -> list[dict[str, float]]:
    """Train a network in place; returns one record for each epoch, as plain data.

    Args:
        train: mini-batches of the training set; an order drawn anew each epoch comes from their ``generator``.
        epochs: times to go through it.
        development: what to look at after each epoch, and when to stop early.
        schedule: changes the learning rate after each epoch.
        folder: keeps a checkpoint of the last epoch. Called again with the same folder, a run that was cut off goes on
            and ends with the weights it would have had (on the CPU to the bit).
        hardware: by default what suits the machine.

    Returns:
        Records such as ``{"epoch": 1, "train loss": 0.7, "development loss": 0.6, "accuracy": 0.5}``, the resumed
        epochs included.

    Raises:
        ValueError: for an empty loader, labels out of range, inputs that do not fit the network.
        TrainingError: where the loss becomes NaN or infinite; with a folder, the network is put back to its last good
            state, which the folder keeps too.
        CheckpointError: where the folder can not be written to, or holds a damaged or another run's checkpoint.
    """
    hardware = hardware or Hardware.best()
    folder = checkpoints.prepare(folder) if folder is not None else None
    hardware.prepare(model)
    _require_sense(model, train, development, hardware)
    run = _Run(model, optimiser, schedule, getattr(train, "generator", None),
               development and development.patience)
    run.resume(folder)
    parallel = distributed.wrap(model)
    with progress.line(epochs, len(run.history)) as line:
        while len(run.history) < epochs and not run.stalled():
            try:
                record = {"epoch": len(run.history) + 1,
                          "train loss": train_epoch(parallel, train, loss, optimiser, hardware)}
            except TrainingError:
                run.resume(folder)
                raise
            if development is not None:
                record |= evaluate(model, development, loss, hardware)
            if schedule is not None:
                schedule.step()
            run.keep(record, folder)
            line.step(", ".join(f"{name} {value:.3g}" for name, value in record.items() if name != "epoch"))
    if run.best:
        model.load_state_dict(run.best)
    return run.history


class _Run:
    """All that a run needs to go on: network, optimiser, schedule, random streams, history, best weights so far."""

    def __init__(self, model: nn.Module, optimiser: Optimizer, schedule: LRScheduler | None,
                 generator: torch.Generator | None, patience: int | None):
        self.model, self.optimiser, self.schedule = model, optimiser, schedule
        self.generator, self.patience = generator, patience
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}

    def best_epoch(self) -> int:
        return min(range(len(self.history)), key=lambda i: self.history[i]["development loss"]) + 1

    def stalled(self) -> bool:
        return bool(self.patience and self.history) and len(self.history) - self.best_epoch() >= self.patience

    def keep(self, record: dict[str, float], folder: Path | None) -> None:
        self.history.append(record)
        if self.patience and self.best_epoch() == len(self.history):
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if folder is not None and distributed.rank() == 0:
            checkpoints.write(folder, *self._state())

    def _state(self) -> tuple[dict[str, Tensor], dict]:
        steps, groups = self.optimiser.state_dict().values()
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"optimiser.{i}.{name}": torch.as_tensor(v) for i, s in steps.items() for name, v in s.items()
                    if v is not None}
        tensors |= checkpoints.random_states()
        if self.generator is not None:
            tensors["generator"] = self.generator.get_state()
        return tensors, {"optimiser": type(self.optimiser).__name__, "groups": groups, "history": self.history,
                         "schedule": self.schedule and self.schedule.state_dict()}

    def resume(self, folder: Path | None) -> None:
        found = checkpoints.read(folder) if folder is not None else None
        if found is None:
            return
        tensors, values = found
        if values["optimiser"] != type(self.optimiser).__name__:
            raise checkpoints.CheckpointError(f"the checkpoint in {folder} was made with {values['optimiser']}, not "
                                              f"with {type(self.optimiser).__name__}: take another folder")
        checkpoints.restore(self.model, _part(tensors, "model."), f"the checkpoint in {folder}")
        steps: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimiser.").items():
            number, _, entry = name.partition(".")
            steps.setdefault(int(number), {})[entry] = tensor
        self.optimiser.load_state_dict({"state": steps, "param_groups": values["groups"]})
        if self.schedule is not None:
            self.schedule.load_state_dict(values["schedule"])
        if self.generator is not None:
            self.generator.set_state(tensors["generator"])
        checkpoints.restore_random_states(tensors)
        self.history, self.best = values["history"], _part(tensors, "best.")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss}: lower the learning rate, and look for values in the inputs or "
                            "targets that are not finite")
    return loss


@torch.no_grad()
def _require_sense(model: nn.Module, train: Pairs, development: Development | None, hardware: Hardware) -> None:
    for name, batches in (("training", train), ("development", development and development.batches)):
        if hasattr(batches, "__len__") and not len(batches):
            raise ValueError(f"the {name} set gives no batch: it is empty, or smaller than the batch size where the "
                             "last batch is dropped")
    if not (hasattr(train, "inputs") and hasattr(train, "targets")):
        return
    try:
        outputs = model.eval()(hardware.move(train.inputs[:2]))
    except RuntimeError as error:
        shape = tuple(train.inputs[:2].shape)
        raise ValueError(f"the network can not take inputs of shape {shape}: {error}") from error
    if not train.targets.is_floating_point() and outputs.dim() > 1:
        labels = train.targets[train.targets != IGNORED]
        if len(labels) and not 0 <= labels.min() <= labels.max() < outputs.shape[1]:
            raise ValueError(f"the labels run from {labels.min()} to {labels.max()}, but the network has "
                             f"{outputs.shape[1]} outputs: labels must lie in 0 to {outputs.shape[1] - 1}")
