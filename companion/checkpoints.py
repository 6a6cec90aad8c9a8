"""Checkpoints: tensors as safetensors, all else as JSON, written so that a crash at any moment leaves a whole one.

Book: Part 2, the training loop. The tensors go into a new file, the JSON beside it names that file with its SHA-256,
and is put in place in one step as the last act. No pickle: a checkpoint from elsewhere can not run code.
"""

import errno
import hashlib
import json
import math
import os
import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:                # not on Windows, where two runs in one folder go unnoticed
    flock = None

LATEST, PREVIOUS = "checkpoint.json", "previous.json"
OURS = re.compile(r"[0-9a-f]{16}\.safetensors(\.partial)?")   # and no file of the user's


class CheckpointError(ValueError):
    """A checkpoint that is damaged or belongs to another network."""


def prepare(folder: str | Path) -> Path:
    """Make the folder where it is missing and see that it can be written to, before hours of training.

    Raises:
        CheckpointError: where it can not.
    """
    try:
        folder = Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:             # RuntimeError: ~ of a user that does not exist
        raise CheckpointError(f"the folder {folder} can not be written to ({error}): take another") from error
    return folder


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the system ends that with this process, however it ends.

    Raises:
        CheckpointError: where another run is in it.
    """
    if flock is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            os.close(descriptor)
            raise CheckpointError(f"another run is writing to {folder}: wait for its end, or take another "
                                  "folder") from error                    # other errors: a disk that knows no locks
    try:
        yield
    finally:
        os.close(descriptor)


def write(folder: Path, tensors: dict[str, Tensor], values: object) -> None:
    """Store named tensors and values that JSON can hold as the latest checkpoint; the one before it is kept too.

    Raises:
        OSError: where the disk is full or unwritable; the last checkpoint is then still whole.
        TypeError: for values that JSON can not hold.
    """
    content = _bytes(tensors)
    digest = hashlib.sha256(content).hexdigest()
    entry = json.dumps({"file": f"{digest[:16]}.safetensors", "sha256": digest, "values": values}, indent=1)
    put(folder / f"{digest[:16]}.safetensors", content)
    if (folder / LATEST).exists():
        put(folder / PREVIOUS, (folder / LATEST).read_bytes())
    put(folder / LATEST, entry.encode())
    kept = {json.loads((folder / name).read_bytes())["file"] for name in (LATEST, PREVIOUS) if (folder / name).exists()}
    for old in folder.iterdir():
        if OURS.fullmatch(old.name) and old.name not in kept:
            old.unlink()


def read(folder: Path) -> tuple[dict[str, Tensor], object] | None:
    """The latest checkpoint, on the CPU; None where there is none.

    Raises:
        CheckpointError: where it is damaged.
    """
    place = folder / LATEST
    if not place.exists():
        return None
    try:
        entry = json.loads(place.read_bytes())
        content = (folder / entry["file"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise CheckpointError(f"{entry['file']} is not what was written, its SHA-256 differs")
        return load(content), entry["values"]
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
        raise CheckpointError(f"the checkpoint in {folder} is damaged ({error}). To go on from the one before, replace "
                              f"{LATEST} by {PREVIOUS}; to begin anew, empty the folder") from error


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Store a network's parameters and buffers as a safetensors file, in one step."""
    put(Path(path), _bytes(model.state_dict()))


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Fill a network with the parameters and buffers of a safetensors file; returns it.

    Raises:
        FileNotFoundError: where there is no file.
        CheckpointError: where the file is damaged or belongs to a network of other layers.
    """
    try:
        restore(model, load(Path(path).read_bytes()), Path(path).name)
    except SafetensorError as error:
        raise CheckpointError(f"{Path(path).name} is damaged ({error}): fetch or make it again") from error
    return model


def restore(model: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Fill a network with named tensors.

    Raises:
        CheckpointError: where names or shapes differ from the network's; the network is then unchanged.
    """
    require_same_layers(model, tensors, name)
    model.load_state_dict(tensors)


def require_same_layers(model: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Raise a ``CheckpointError`` where names or shapes of tensors differ from the network's."""
    own = {n: tuple(t.shape) for n, t in model.state_dict().items()}
    theirs = {n: tuple(t.shape) for n, t in tensors.items()}
    if wrong := sorted(n for n in own.keys() | theirs.keys() if own.get(n) != theirs.get(n)):
        n = wrong[0]
        raise CheckpointError(f"{name} belongs to another network: {n} is {theirs.get(n, 'missing')} there and "
                              f"{own.get(n, 'missing')} here, and {len(wrong) - 1} more differ. Build the network it "
                              "was made with")


def _bytes(tensors: dict[str, Tensor]) -> bytes:
    """As safetensors; clones, since the format stores no tensor that shares memory or has its channels last."""
    plain = torch.contiguous_format
    return save({name: tensor.detach().cpu().clone(memory_format=plain) for name, tensor in tensors.items()})


def put(path: Path, content: bytes) -> None:
    """Write a file in one step: under another name first, on the disk before it takes its name.

    Raises:
        OSError: where that fails; a file of that name is then as it was.
    """
    partial = path.with_name(f"{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def random_states() -> dict[str, Tensor]:
    """States of the random streams that code may draw from unasked: of torch, for the CPU and each GPU in use, of NumPy
    and of Python."""
    _, keys, *place = np.random.get_state()                # noqa: NPY002 - the stream that others draw from
    _, words, held = random.getstate()
    states = {"random.cpu": torch.get_rng_state(),
              "random.numpy": torch.from_numpy(np.append(keys.astype(np.float64), place)),
              "random.python": torch.tensor([*words, math.nan if held is None else held], dtype=torch.float64)}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states |= {f"random.cuda{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random_states(tensors: dict[str, Tensor]) -> None:
    """Put the random streams back to where ``random_states`` found them."""
    torch.set_rng_state(tensors["random.cpu"].clone())     # torch crashes where the state is a part of a tensor
    *keys, position, has_held, held = tensors["random.numpy"].tolist()
    keys = np.array(keys, dtype=np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_held), held))                  # noqa: NPY002
    *words, held = tensors["random.python"].tolist()
    random.setstate((3, tuple(map(int, words)), None if math.isnan(held) else held))
    for name in tensors:
        if name.startswith("random.cuda"):
            torch.cuda.set_rng_state(tensors[name].clone(), int(name.removeprefix("random.cuda")))
