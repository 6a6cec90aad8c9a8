"""A folder of PNG, PGM or JPEG images with a table of labels, as the cases that notebooks take.

Book: *Data of this book*. Decoding is Pillow's. The files tell no pixel size, and JPEG alters values.
"""

import math
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from companion.datasets.cases import Cases
from companion.datasets.folder_table import Row, read_rows

TYPES = {"L": (np.uint8, 1), "I;16": (np.uint16, 1), "I;16B": (np.uint16, 1), "I": (np.uint16, 1), "RGB": (np.uint8, 3)}
"""Pillow's names for what an image may hold, with the type of its numbers and the channels; ``I`` is PGM of 16 bits."""

OPAQUE = {"RGBA": "RGB", "LA": "L"}  # what is left where alpha, the last channel, is 255 everywhere

PNG = b"\x89PNG\r\n\x1a\n"                           # how such a file begins; from byte 24 on, bits and colour type:
DEEP = (b"\x10\x02", b"\x10\x04", b"\x10\x06")     # 16 bits with RGB, with grey and alpha, with RGBA


def load(folder: str | Path, table: str = "labels.csv", size: int | tuple[int, int] | None = None,
         classes: Sequence[str] | None = None, separator: str | None = None) -> Cases:
    """Load the images of a folder in the order of its table.

    Args:
        folder: holds the table and, in itself or in subfolders, the images; each image must be in the table, but for
            hidden ones (files and folders whose names begin with a dot).
        table: name of a file in UTF-8, with commas, semicolons or tabs, whose first line names the columns, in lower
            case: ``file`` (path within the folder), ``label`` (name of the class) and, if known, ``patient`` (any name
            or number). Without that column each image is a patient of its own, and none may be named like it, such as
            ``Patient ID``: rename it. Further columns are left aside, as are spaces around the names.
        size: (rows, columns), or one number for both: each image is resized to it, smoothed where it shrinks, without
            keeping its aspect ratio. By default images stay as they are and must all have one size.
        classes: names of the classes in the order of their numbers; give it where several folders must agree. By
            default the labels in order, numbers by value and other names by the alphabet.
        separator: between the findings of an image, such as ``|`` in ``Mass|Effusion``; ``No Finding`` is none of them.
            By default an image has one label.

    Returns:
        Images (N, C, H, W), float32 in [0, 1], where 1 is the largest number that the file can hold (255 for 8 bits);
        C is 1 for grey levels and 3 for colour; upright, as the file says that the camera was held. Labels (N,) int64,
        or with a separator (N, K) float32, 1 for each of the K findings that an image shows and else 0. Patients (N,)
        int64, numbered as they appear.

    Raises:
        ValueError: where there is no such folder or table; a column, label or patient is missing; a column is there
            twice, or its name is nearly ``patient``; a file is listed twice, listed and missing, or there and not
            listed; a label is not in ``classes`` or a class has no image; a label holds ``|``, but there is no
            separator; a file can not be read, is partly transparent, or is in colour of 16 bits; images differ in size,
            in depth (8 or 16 bits), or are partly in colour.
    """
    return _load({"": Path(folder)}, table, size, classes, separator)[0]


def load_split(train: str | Path, development: str | Path, test: str | Path, table: str = "labels.csv",
               size: int | tuple[int, int] | None = None, classes: Sequence[str] | None = None,
               separator: str | None = None) -> tuple[Cases, Cases, Cases]:
    """Load a set that comes in three folders; ``splits.Split(*load_split("train", "val", "test"))`` takes the result.

    Args:
        train, development, test: folders as in ``load``, each with its table. Patients of one name are one patient in
            all three. Where no table has the column ``patient``, nothing tells whether a patient is in two folders.
        table, size, classes, separator: as in ``load``; by default the classes are the labels of all three folders.

    Returns:
        Training, development and test cases as of ``load``, with the same classes and with patients numbered over all
        three. Their images are parts of one tensor.

    Raises:
        ValueError: as in ``load``; also where a patient is in two folders; where only some tables have the column
            ``patient``; where a class has no image for training, while development and test set may lack it.
    """
    folders = {"train": Path(train), "development": Path(development), "test": Path(test)}
    return _load(folders, table, size, classes, separator)


def _load(folders: dict[str, Path], table: str, size: int | tuple[int, int] | None, classes: Sequence[str] | None,
          separator: str | None) -> tuple[Cases, ...]:
    """The cases of each folder; folders by the name of their set. The first is the one to train on."""
    size = (size, size) if isinstance(size, int) else size
    if size is not None and min(size) < 1:
        raise ValueError(f"size is {size}, but must be positive numbers (rows, columns)")
    if separator == "":
        raise ValueError("separator is '', but must be what stands between findings, such as '|'; None for one label")
    prefixes = ["" if len(folders) == 1 else f"{folder.as_posix()}/" for folder in folders.values()]  # in messages
    sets = [read_rows(folder, table, prefix, separator)
            for folder, prefix in zip(folders.values(), prefixes, strict=True)]
    names = _classes(prefixes[0] + table, sets, classes)
    patients = _patients(dict(zip(folders, sets, strict=True)), [prefix + table for prefix in prefixes])
    images = _images([row for rows in sets for row in rows], size).split([len(rows) for rows in sets])
    return tuple(Cases(images=part, labels=_labels(rows, names, separator), classes=names, patients=numbers)
                 for part, rows, numbers in zip(images, sets, patients, strict=True))


# Classes, labels and patients

def _classes(shown: str, sets: list[list[Row]], given: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the classes or findings; each has an image in the first set, whose table is shown in messages."""
    first = {label for row in sets[0] for label in row.labels}
    names = tuple(sorted({label for rows in sets for row in rows for label in row.labels}, key=_by_value)
                  if given is None else given)
    for row in (row for rows in sets for row in rows):
        if unknown := [label for label in row.labels if label not in names]:
            raise ValueError(f"{row.line}: the label {unknown[0]!r} is none of the classes {list(names)}: correct it "
                             "or add it")
    if empty := [name for name in names if name not in first]:
        raise ValueError(f"{shown}: the class {empty[0]!r} has no image: add some or leave the class out")
    if not names:
        raise ValueError(f"{shown}: it names no finding at all, so there is nothing to learn: add images with some")
    return names


def _labels(rows: list[Row], names: tuple[str, ...], separator: str | None) -> Tensor:
    if separator is None:
        return torch.tensor([names.index(row.labels[0]) for row in rows])
    return torch.tensor([[name in row.labels for name in names] for row in rows], dtype=torch.float32)


def _patients(sets: dict[str, list[Row]], tables: list[str]) -> list[Tensor]:
    """Numbers (N,) for each set, by one list of names for all; without names each file is a patient of its own."""
    named = [rows[0].patient is not None for rows in sets.values()]
    if len(set(named)) > 1:
        raise ValueError(f"{tables[named.index(False)]} has no column patient, but {tables[named.index(True)]} has: "
                         "without names in all three, nobody knows whether a patient is in two; add it, or leave it "
                         "out of all")
    owners = {name: [row.patient or str(row.file.resolve()) for row in rows] for name, rows in sets.items()}
    for one, other in combinations(owners, 2):
        if both := sorted(set(owners[one]) & set(owners[other])):
            raise ValueError(f"{len(both)} patients are in {one} and in {other}, such as "
                             f"{', '.join(map(repr, both[:3]))}: put all images of a patient in one folder")
    numbers = {owner: n for n, owner in enumerate(dict.fromkeys(chain(*owners.values())))}
    return [torch.tensor([numbers[owner] for owner in mine]) for mine in owners.values()]


def _by_value(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return math.inf, label


# The images

def _images(rows: list[Row], size: tuple[int, int] | None) -> Tensor:
    """(N, C, H, W), float32 in [0, 1]."""
    images, first = [], None
    for name, path in ((row.name, row.file) for row in rows):
        array = _array(name, path)
        images.append(_resized(array, size))
        first = first or (name, array.dtype, array.shape)
        _require_same("bits per value", first, name, 8 * first[1].itemsize, 8 * array.dtype.itemsize,
                      "save all in one depth")
        _require_same("channels (1 grey, 3 colour)", first, name, first[2][-1], array.shape[-1],
                      "save all as grey levels, or all in colour")
        if size is None:
            _require_same("(rows, columns)", first, name, first[2][:2], array.shape[:2],
                          "give load a size to resize them to")
    return torch.stack(images)


def _require_same(what: str, first: tuple, name: str, one: object, other: object, remedy: str) -> None:
    if one != other:
        raise ValueError(f"images of one set have the same {what}, but {first[0]} has {one} and {name} has {other}: "
                         f"{remedy}")


def _array(name: str, path: Path) -> np.ndarray:
    """The stored values (H, W, 1 or 3), uint8 or uint16."""
    _require_no_deep_colour(name, path)
    try:
        with Image.open(path) as image:
            frames, upright = getattr(image, "n_frames", 1), ImageOps.exif_transpose(image)
            array, mode = np.asarray(upright), upright.mode
    except Exception as error:  # a damaged file makes decoders raise almost anything; it stays as the cause
        raise ValueError(f"{name}: it can not be decoded as an image ({type(error).__name__}), so it is cut off, "
                         "damaged or of another format: copy it again from its source, or save it as PNG") from error
    if mode in OPAQUE and (array[..., -1] == 255).all():
        array, mode = array[..., :-1], OPAQUE[mode]
    if mode not in TYPES or frames > 1:
        raise ValueError(f"{name}: it holds {frames} image(s) of kind {mode!r}, but must hold one, in grey levels of 8 "
                         "or 16 bits or in RGB: save it so, without transparency, palette or animation")
    dtype, channels = TYPES[mode]
    return array.astype(dtype).reshape(*array.shape[:2], channels)


def _require_no_deep_colour(name: str, path: Path) -> None:
    """Pillow cuts colour of 16 bits to 8, and says nothing."""
    with path.open("rb") as file:
        start = file.read(26)
    if start.startswith(PNG) and start[24:] in DEEP:
        raise ValueError(f"{name}: it is in colour or has alpha, with 16 bits per number, of which 8 would be lost: "
                         "save it in grey levels of 16 bits without alpha, or in colour of 8 bits")


def _resized(array: np.ndarray, size: tuple[int, int] | None) -> Tensor:
    image = torch.from_numpy(array.astype(np.float32).transpose(2, 0, 1).copy()) / np.iinfo(array.dtype).max
    if size is None or size == image.shape[1:]:
        return image
    return interpolate(image[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)
