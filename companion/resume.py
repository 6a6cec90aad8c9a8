"""A run that can be cut off at any moment: all that it needs to go on as if nothing had happened.

Book: Part 2, the training loop. The network's parameters and buffers, the optimiser's running averages, the
schedule, the random streams, the history and the best weights so far go into one checkpoint.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from companion import checkpoints, distributed


class Run:
    """All that a run needs to go on.

    Args:
        model, optimiser, schedule: changed in place by ``resume``.
        generator: that draws the order of the cases, where there is one.
        patience: epochs without a lower development loss after which to stop, or None.
    """

    def __init__(self, model: nn.Module, optimiser: Optimizer, schedule: LRScheduler | None,
                 generator: torch.Generator | None, patience: int | None):
        self.model, self.optimiser, self.schedule = model, optimiser, schedule
        self.generator, self.patience = generator, patience
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}

    def best_epoch(self) -> int:
        """Number of the epoch with the lowest development loss so far."""
        return min(range(len(self.history)), key=lambda i: self.history[i]["development loss"]) + 1

    def stalled(self) -> bool:
        """Whether the patience is at an end."""
        return bool(self.patience and self.history) and len(self.history) - self.best_epoch() >= self.patience

    def keep(self, record: dict[str, float]) -> None:
        """Add an epoch to the history, and keep its weights where they are the best so far."""
        self.history.append(record)
        if self.patience and self.best_epoch() == len(self.history):
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def write(self, folder: Path | None) -> None:
        """Store a checkpoint, process 0 for all; nothing where there is no folder."""
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
        return tensors, {"pieces": self._pieces(), "groups": groups, "history": self.history,
                         "schedule": self.schedule and self.schedule.state_dict()}

    def _pieces(self) -> dict[str, str]:
        """What a run is made of besides its network: a checkpoint fits none that is made of other pieces."""
        sizes = " and ".join(str(len(group["params"])) for group in self.optimiser.param_groups)
        return {"optimiser": type(self.optimiser).__name__,
                "parameters in the optimiser": sizes,
                "schedule": type(self.schedule).__name__ if self.schedule else "none",
                "random order from a generator": "yes" if self.generator else "no",
                "early stopping": "yes" if self.patience else "no"}

    def resume(self, folder: Path | None) -> bool:
        """Go back to the checkpoint in a folder; returns whether there was one.

        Raises:
            CheckpointError: where it is damaged, another run's, or not the same for all processes; nothing is changed.
        """
        found = checkpoints.read(folder) if folder is not None else None
        epochs = [int(n) for n in distributed.gather(torch.tensor([len(found[1]["history"]) if found else -1],
                                                                  device=next(self.model.parameters()).device))]
        if len(set(epochs)) > 1:
            raise checkpoints.CheckpointError(f"the processes do not find the same checkpoint in {folder}: the folder "
                                              "must be one that all nodes share")
        if found is None:
            return False
        tensors, values = found
        checkpoints.require_same_layers(self.model, _part(tensors, "model."), f"the checkpoint in {folder}")
        for piece, ours in self._pieces().items():
            if (theirs := values["pieces"][piece]) != ours:
                raise checkpoints.CheckpointError(f"the checkpoint in {folder} is of a run with {piece}: {theirs}, not "
                                                  f"{ours}: take the same to go on with it, or another folder")
        self.model.load_state_dict(_part(tensors, "model."))
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
        return True


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
