"""Training in several processes at once, one a GPU: start and stop, shares of a batch, sums and predictions of all.

Book: Part 2, the training loop. Start with torchrun, on one machine or several::

    torchrun --nproc-per-node 2 -m companion.train train ...
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m companion.train train ...

The second runs on each node. The folder of the checkpoints must then be one that all nodes share. Without
torchrun there is one process, and all functions here do nothing. Each process takes every W-th case of each
batch, where W is the number of processes, so the batch and the gradient are those of a single process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

WAIT = timedelta(minutes=5)   # for the slowest process, before all give up


@contextmanager
def processes(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started, and leave them at the end; yields this process's own device.

    NCCL connects GPUs, gloo CPUs. Where torchrun did not start this process, nothing happens.
    """
    if "RANK" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=WAIT)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def world() -> int:
    """Number of processes, 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(batch: Tensor) -> Tensor:
    """This process's part of a batch (N, ...): every W-th case, from its own number on."""
    return batch[rank()::world()]


def wrap(model: nn.Module) -> nn.Module:
    """The model in the wrapper that averages gradients over the processes; the model itself for a single one.

    Batch normalisation then normalises each process's share of the batch by itself; turn it into
    ``torch.nn.SyncBatchNorm`` before, on GPUs, to use the whole batch.
    """
    return DistributedDataParallel(model) if world() > 1 else model


def weighted(loss: Tensor, count: int | Tensor) -> Tensor:
    """A share's mean loss over ``count`` cases, weighted so that the mean over the processes is that over the batch.

    Without it the last batch, whose shares may differ by a case, would count some cases more than others.
    """
    if world() == 1:
        return loss
    count = torch.as_tensor(count, dtype=torch.float32, device=loss.device)
    return loss * (count * world() / total(count))


def total(value: Tensor) -> Tensor:
    """Sum of a tensor over the processes, the same in each."""
    if world() == 1:
        return value
    summed = value.clone()
    dist.all_reduce(summed)
    return summed


def share_buffers(model: nn.Module) -> None:
    """Give every process the buffers of process 0, such as the running averages of batch normalisation.

    Each process computes them from its own share of the batches, so they drift apart in between.
    """
    if world() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def wait(device: torch.device) -> None:
    """Go on when all processes are here."""
    total(torch.zeros(1, device=device))


def gather(value: Tensor) -> Tensor:
    """The tensors (n, ...) of all processes joined to one (N, ...), first those of process 0; n may differ."""
    if world() == 1:
        return value
    counts = [torch.zeros(1, dtype=torch.int64, device=value.device) for _ in range(world())]
    dist.all_gather(counts, torch.tensor([len(value)], device=value.device))
    most = max(int(n) for n in counts)
    padded = torch.cat([value, value.new_zeros(most - len(value), *value.shape[1:])])
    everyone = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(everyone, padded)
    return torch.cat([part[:int(n)] for part, n in zip(everyone, counts, strict=True)])
