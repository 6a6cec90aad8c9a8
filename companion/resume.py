"""A run that can be cut off at any moment: all that it needs to go on as if nothing had happened.

Book: Part 2, the training loop. The network's parameters and buffers, the optimiser's running averages, the
schedule, the random streams, the history and the best weights so far go into one checkpoint.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from companion import checkpoints, checks, distributed

COUNTER = "counter of"   # marks what JSON can not tell from a dict


class Run:
    """All that a run needs to go on.

    Args:
        model, optimiser, schedule: changed in place by ``in_folder`` and ``go_back``.
        train: mini-batches; the generator that draws their order, where there is one, goes on too.
        patience: epochs without a lower development loss after which to stop, or None.
    """

    def __init__(self, model: nn.Module, optimiser: Optimizer, schedule: LRScheduler | None, train: object,
                 patience: int | None):
        self.model, self.optimiser, self.schedule, self.patience = model, optimiser, schedule, patience
        self.train = train
        self.sampler = getattr(train, "sampler", None)
        self.generator = getattr(train, "generator", None) or getattr(self.sampler, "generator", None)
        self.folder: Path | None = None
        self.pieces: dict[str, str] = {}
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}

    @contextmanager
    def in_folder(self, folder: str | Path | None) -> Iterator[None]:
        """Go on from the checkpoint in a folder, where it holds an epoch, and store each epoch there; None for none.

        Raises:
            ValueError: where a checkpoint could not hold the network as a whole.
            CheckpointError: where the folder can not be written to, another run is in it, or its checkpoint is damaged,
                another run's, or not the same for all processes. The network is then unchanged.
        """
        if folder is None:
            yield
            return
        checks.require_whole(self.model, self.optimiser)
        self.folder, self.pieces = checkpoints.prepare(folder), self._pieces()
        with checkpoints.alone(self.folder) if distributed.rank() == 0 else nullcontext():
            found = checkpoints.read(self.folder)
            self._require_shared(found)
            if found and found[1]["history"]:
                self._require_mine(found)
                self._restore(*found)
            else:
                self._write()                             # so that even the first epoch has a state to go back to
            yield
            distributed.wait(self._device())              # for process 0, which may still be writing

    def begin_epoch(self) -> None:
        """Tell a sampler that draws by the number of the epoch which one it is."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(len(self.history))

    def go_back(self) -> None:
        """Go back to the last state that was stored; without a folder, nothing happens."""
        if self.folder is not None:
            self._restore(*checkpoints.read(self.folder))

    def best_epoch(self) -> int:
        """Number of the epoch with the lowest development loss so far."""
        return min(range(len(self.history)), key=lambda i: self.history[i]["development loss"]) + 1

    def stalled(self) -> bool:
        """Whether the patience is at an end."""
        return bool(self.patience and self.history) and len(self.history) - self.best_epoch() >= self.patience

    def keep(self, record: dict[str, float]) -> None:
        """Add an epoch to the history, and to the folder; keep its weights where they are the best so far."""
        self.history.append(record)
        if self.patience and self.best_epoch() == len(self.history):
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if self.folder is not None:
            self._write()

    def _pieces(self) -> dict[str, str]:
        """What a run is made of besides its network: a checkpoint fits none that is made of other pieces."""
        sizes = " and ".join(str(len(group["params"])) for group in self.optimiser.param_groups)
        return {"optimiser": type(self.optimiser).__name__,
                "settings of the optimiser": str({k: _plain(v) for k, v in self.optimiser.defaults.items()}),
                "parameters in the optimiser": sizes,
                "schedule": type(self.schedule).__name__ if self.schedule else "none",
                "random order from a generator": "yes" if self.generator else "no",
                "early stopping": "yes" if self.patience else "no",
                "training set": _described(self.train)}

    def _write(self) -> None:
        """Store a checkpoint, process 0 for all, with the random streams of each."""
        steps, groups = self.optimiser.state_dict().values()
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"optimiser.{i}.{name}": torch.as_tensor(v) for i, s in steps.items() for name, v in s.items()
                    if v is not None}
        tensors |= {name: distributed.gather(state[None].to(self._device())).cpu()
                    for name, state in checkpoints.random_states().items()}
        if self.generator is not None:
            tensors["generator"] = self.generator.get_state()
        if distributed.rank() == 0:
            checkpoints.write(self.folder, tensors, {
                "pieces": self.pieces, "groups": _plain(groups), "history": self.history,
                "schedule": self.schedule and _plain(self.schedule.state_dict())})

    def _restore(self, tensors: dict[str, Tensor], values: dict) -> None:
        self.model.load_state_dict(_part(tensors, "model."))
        steps: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimiser.").items():
            number, _, entry = name.partition(".")
            steps.setdefault(int(number), {})[entry] = tensor
        self.optimiser.load_state_dict({"state": steps, "param_groups": values["groups"]})
        if self.schedule is not None:
            self.schedule.load_state_dict(_unplain(values["schedule"]))
        if self.generator is not None:
            self.generator.set_state(tensors["generator"])
        checkpoints.restore_random_states({name: states[min(distributed.rank(), len(states) - 1)]
                                           for name, states in tensors.items() if name.startswith("random.")})
        self.history, self.best = values["history"], _part(tensors, "best.")

    def _require_shared(self, found: tuple[dict, dict] | None) -> None:
        epochs = torch.tensor([len(found[1]["history"]) if found else -1], device=self._device())
        if len(set(distributed.gather(epochs).tolist())) > 1:
            raise checkpoints.CheckpointError(f"the processes do not find the same checkpoint in {self.folder}: the "
                                              "folder must be one that all nodes share")

    def _require_mine(self, found: tuple[dict, dict]) -> None:
        tensors, values = found
        checkpoints.require_same_layers(self.model, _part(tensors, "model."), f"the checkpoint in {self.folder}")
        for piece, ours in self.pieces.items():
            if (theirs := values["pieces"][piece]) != ours:
                raise checkpoints.CheckpointError(f"the checkpoint in {self.folder} is of a run with {piece}: {theirs}"
                                                  f", not {ours}: take the same to go on with it, or another folder")

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def _described(train: object) -> str:
    """What can be told of a training set without going through it, its labels where they lie in memory."""
    if hasattr(train, "inputs") and hasattr(train, "targets"):
        labels = train.targets.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
        return (f"{len(train.inputs)} cases in batches of {train.size}, labels "
                f"{hashlib.sha256(labels).hexdigest()[:8]}")
    try:
        return f"{len(train)} batches"
    except TypeError:
        return "batches of unknown number"


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _plain(value: object) -> object:
    """As JSON can hold it: tensors of one number as that, and counters, whose keys are numbers, as pairs."""
    if isinstance(value, Tensor):
        return value.item()
    if isinstance(value, Counter):
        return {COUNTER: sorted(value.items())}
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _unplain(value: object) -> object:
    if isinstance(value, dict):
        return Counter(dict(value[COUNTER])) if COUNTER in value else {k: _unplain(v) for k, v in value.items()}
    return [_unplain(entry) for entry in value] if isinstance(value, list) else value
