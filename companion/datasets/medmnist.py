"""MedMNIST: 18 public sets of small medical images, 2D and 3D, by name or from a file. Book: *Data of this book*.

Yang et al., MedMNIST v2, Scientific Data 10 (2023), 41. Names, classes, licences, addresses and checksums are those of
the ``medmnist`` package. The sets do not say which images show one patient, so ``load`` gives each image a patient
number of its own. Where the source has several images of a patient (as CT slices in the organ sets), only the official
subsets keep patients apart; a new split of all images may not.
"""

import hashlib
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from companion import folders
from companion.datasets.cases import Cases

SUBSETS = ("train", "val", "test")
"""The official subsets; ``val`` is the development set."""

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20

# what numpy and zipfile raise; RuntimeError where damage looks like encryption or another compression
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)


class DownloadError(OSError):
    """A set could not be downloaded: the message says which file to get from where, and where to put it."""


def load(name_or_path: str | Path, subset: str = "train", folder: str | Path | None = None, size: int = 28) -> Cases:
    """Load one subset of a MedMNIST set, downloading the set first where it is needed.

    A downloaded file is kept, and its MD5 is compared with the official one whenever it is loaded. An interrupted
    download goes on where it stopped at the next call. Processes that run at once should not download the same set.

    Args:
        name_or_path: a name such as ``pneumoniamnist``, or the path of a file ending in ``.npz`` whose name begins with
            one, in upper or lower case. The contents of such a file are checked, but not its MD5, so that it may hold a
            subset of the cases.
        subset: ``train``, ``val``, ``test``, or ``all`` for the three joined in this order.
        folder: where downloads lie; by default ``cache`` in ``companion.folders.data()``.
        size: pixels along each axis: 28, 64, 128 or 224 in 2D, 28 or 64 in 3D. A file has the size that it has. The
            images of a subset all lie in memory, in float32, four times what they take as stored, and checking them
            takes nearly three times that for a moment: the training images of ``pathmnist`` take 13.5 GB as stored and
            54 GB in float32 at size 224, and 0.2 and 0.8 GB at 28.

    Returns:
        Images (N, 1 or 3, H, W) or (N, 1, D, H, W), float32, the stored 0 to 255 divided by 255. Labels (N,) int64
        class numbers, or (N, K) float32 where an image may show several findings (ChestMNIST). Patients: a number for
        each image, no two alike over the three subsets.

    Raises:
        ValueError: where there is no such set, subset or size; where a file is not what its name says, or damaged;
            where the folder is a file.
        DownloadError: where the set is not in the folder and can not be downloaded.
        FileNotFoundError: where there is no file at the path.
    """
    if subset not in (*SUBSETS, "all"):
        raise ValueError(f"subset is {subset!r}, but must be one of {', '.join(SUBSETS)}, all")
    name = _name_of(name_or_path)
    path = Path(name_or_path) if _is_path(name_or_path) else _fetched(
        name, size, Path(folder) if folder else folders.data() / "cache")
    return _cases(name, path, subset)


def info(name_or_path: str | Path) -> Mapping[str, object]:
    """What the ``medmnist`` package knows of a set: ``description``, ``license``, ``task``, ``n_samples`` and more.

    Raises:
        ValueError: where there is no such set.
        FileNotFoundError: where there is no file at the path.
    """
    return _sets()[_name_of(name_or_path)]


def _sets() -> Mapping[str, Mapping]:
    from medmnist import INFO  # here, not above: importing it takes seconds and makes a folder in the user's home

    return INFO


def _is_path(name_or_path: str | Path) -> bool:
    return Path(name_or_path).suffix.lower() == ".npz"


def _name_of(name_or_path: str | Path) -> str:
    """The name of a set as the package writes it, in lower case."""
    known, path = _sets(), Path(name_or_path)
    if not _is_path(path):
        if (name := str(name_or_path).lower()) not in known:
            raise ValueError(f"there is no MedMNIST set {str(name_or_path)!r}: give one of {', '.join(known)}, or the "
                             "path of an .npz")
        return name
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = next((name for name in known if path.name.lower().startswith(name)), None)
    if name is None:
        raise ValueError(f"{path.name}: the name of the file tells its set, so it must begin with one of "
                         f"{', '.join(known)}; rename it")
    return name


# The file

def _fetched(name: str, size: int, folder: Path) -> Path:
    """The file of a set in the folder, downloaded if need be, with the official MD5."""
    known = info(name)
    sizes = [28, *(int(key.removeprefix("MD5_")) for key in known if key.startswith("MD5_"))]
    if size not in sizes:
        raise ValueError(f"size is {size}, but {name} comes in {', '.join(map(str, sizes))}")
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"folder is {folder}, but {there} is a file: give the folder that holds it, or the path of "
                         "the file in place of the name")
    ending = "" if size == 28 else f"_{size}"
    path, md5 = folder / f"{name}{ending}.npz", known[f"MD5{ending}"]
    if not path.is_file():
        _download(known[f"url{ending}"], path, md5)
    elif (found := _md5(path)) != md5:
        raise ValueError(f"{path} has MD5 {found}, but the official file has {md5}: it is altered or cut off. Move it "
                         "away and it is downloaded again; to use it as it is, give load its path")
    return path


def _download(url: str, path: Path, md5: str) -> None:
    """Fetch a file; it gets its name only once it is whole and right, and is named ``.partial`` until then."""
    partial = path.with_name(f"{path.name}.partial")
    by_hand = f"Get {url} (MD5 {md5}) by other means and put it at {path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, partial)
    except (OSError, HTTPException) as error:
        raise DownloadError(f"{path.name} could not be downloaded ({error}). Call again to go on where it stopped, or: "
                            f"{by_hand}") from error
    if (found := _md5(partial)) != md5:
        partial.unlink()  # nothing to go on from
        raise DownloadError(f"{path.name} was downloaded, but has MD5 {found}, so it was altered or damaged on its way "
                            f"and is thrown away. Call again to start anew, or: {by_hand}")
    os.replace(partial, path)


def _receive(url: str, partial: Path) -> None:
    """Append to the partial file what it lacks, or all of it where the server can not send a part."""
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:  # nothing beyond what we have
            return
        raise
    with answer, open(partial, "ab" if answer.status == 206 else "wb") as file:
        expected, begin = answer.headers.get("Content-Length"), file.tell()
        while chunk := answer.read(CHUNK):
            file.write(chunk)
        if expected and file.tell() - begin < int(expected):
            raise ConnectionError(f"it broke off after {file.tell() - begin} of {expected} bytes")


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


# Its contents

def _cases(name: str, path: Path, subset: str) -> Cases:
    known = info(name)
    wanted = SUBSETS if subset == "all" else (subset,)
    counts, images, labels = [0], [], []
    for part in SUBSETS:
        findings = _labels(path.name, known, part, _array(path, f"{part}_labels"))
        counts.append(counts[-1] + len(findings))
        if part in wanted:
            images.append(_images(path.name, known, part, _array(path, f"{part}_images"), len(findings)))
            labels.append(findings)
    first = counts[SUBSETS.index(wanted[0])]
    _require_same_size(path.name, dict(zip(wanted, images, strict=True)))
    images = torch.cat(images)
    return Cases(images=images, labels=torch.cat(labels), classes=_classes(known),
                 patients=torch.arange(first, first + len(images)))


def _require_same_size(file: str, parts: dict[str, Tensor]) -> None:
    sizes = {part: tuple(images.shape[2:]) for part, images in parts.items()}
    (first, size), *others = sizes.items()
    for part, other in others:
        if other != size:
            raise ValueError(f"{file}: images of one set have the same size, but those of {first} have {size} and "
                             f"those of {part} {other}: load one subset at a time, or get the file anew")


def _classes(known: Mapping) -> tuple[str, ...]:
    return tuple(known["label"].values())


def _array(path: Path, key: str) -> np.ndarray:
    if not zipfile.is_zipfile(path):
        raise _damaged(path, "it is no zip archive")
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if key in file:
                return file[key]
            found = sorted(file)
    except DAMAGE as error:
        raise _damaged(path, str(error)) from error
    raise ValueError(f"{path.name}: a MedMNIST file holds {key!r}, but this one holds {found}")


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(f"{path.name}: it can not be read as an .npz file ({why}): it is cut off or damaged. Copy it "
                      "again from its source")


def _labels(file: str, known: Mapping, part: str, array: np.ndarray) -> Tensor:
    """Class numbers (N,) int64, or findings (N, K) float32."""
    several, count = known["task"].startswith("multi-label"), len(known["label"])
    columns, top = (count, 1) if several else (1, count - 1)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != columns or not len(array):
        raise ValueError(f"{file}: {part}_labels are {array.dtype} of shape {array.shape}, but must be integers of "
                         f"shape (N, {columns})")
    if array.min() < 0 or array.max() > top:
        raise ValueError(f"{file}: {part}_labels run from {array.min()} to {array.max()}, but must lie in 0 to {top}")
    return torch.from_numpy(array.astype(np.float32)) if several else torch.from_numpy(array[:, 0].astype(np.int64))


def _images(file: str, known: Mapping, part: str, array: np.ndarray, count: int) -> Tensor:
    """(N, C, H, W) or (N, C, D, H, W), float32 in [0, 1]."""
    axes = 3 if known["python_class"].endswith("3D") else 2
    colour = (3,) if known["n_channels"] == 3 else ()
    if array.dtype != np.uint8 or array.ndim != 1 + axes + len(colour) or array.shape[1 + axes:] != colour:
        shape = ("N", *"DHW"[-axes:], *map(str, colour))
        raise ValueError(f"{file}: {part}_images are {array.dtype} of shape {array.shape}, but must be uint8 of shape "
                         f"({', '.join(shape)})")
    if len(array) != count:
        raise ValueError(f"{file}: there are {len(array)} {part}_images, but {count} {part}_labels")
    images = torch.from_numpy(array)
    images = images.movedim(-1, 1) if colour else images[:, None]
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
