"""A folder of PNG, PGM or JPEG images with a table of labels, as the cases that notebooks take.

Book: *Data of this book*. Decoding is Pillow's. The files tell no pixel size, and JPEG alters values.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from companion.datasets.cases import Cases

SUFFIXES = (".png", ".pgm", ".jpg", ".jpeg")

MISSING = ("", "nan", "na", "n/a")  # what programs write where a value is missing, in lower case

TYPES = {"L": (np.uint8, 1), "I;16": (np.uint16, 1), "I;16B": (np.uint16, 1), "I": (np.uint16, 1), "RGB": (np.uint8, 3)}
"""Pillow's names for what an image may hold, with the type of its numbers and the channels; ``I`` is PGM of 16 bits."""


class _Row(NamedTuple):
    file: Path
    label: str
    patient: str


def load(folder: str | Path, table: str = "labels.csv", size: int | tuple[int, int] | None = None,
         classes: Sequence[str] | None = None) -> Cases:
    """Load the images of a folder in the order of its table.

    Args:
        folder: holds the table and, in itself or in subfolders, the images; each image must be in the table.
        table: name of a CSV file, comma-separated, UTF-8, whose first line names the columns: ``file`` (path within
            the folder), ``label`` (name of the class) and, if known, ``patient`` (any name or number). Without that
            column each image is a patient of its own. Further columns are left aside.
        size: (rows, columns), or one number for both: each image is resized to it, smoothed where it shrinks, without
            keeping its aspect ratio. By default images stay as they are and must all have one size.
        classes: names of the classes in the order of their numbers; give it where several folders must agree. By
            default the labels in order, numbers by value and other names by the alphabet.

    Returns:
        Images (N, C, H, W), float32 in [0, 1], where 1 is the largest number that the file can hold (255 for 8 bits);
        C is 1 for grey levels and 3 for colour. Labels (N,) int64. Patients (N,) int64, numbered as they appear.

    Raises:
        ValueError: where there is no such folder or table; a column, label or patient is missing; a file is listed
            twice, listed and missing, or there and not listed; a label is not in ``classes`` or a class has no image;
            a file can not be read; images differ in size, in depth (8 or 16 bits), or are partly in colour.
    """
    folder = Path(folder)
    size = (size, size) if isinstance(size, int) else size
    if size is not None and min(size) < 1:
        raise ValueError(f"size is {size}, but must be positive numbers (rows, columns)")
    rows = _rows(folder, table)
    files, labels = [row.file for row in rows], [row.label for row in rows]
    _require_same_files(folder, table, files)
    names = _classes(table, labels, classes)
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(row.patient for row in rows))}
    return Cases(images=_images(folder, files, size), labels=torch.tensor([names.index(label) for label in labels]),
                 classes=names, patients=torch.tensor([numbers[row.patient] for row in rows]))


# The table

def _rows(folder: Path, table: str) -> list[_Row]:
    path = folder / table
    if not path.is_file():
        raise ValueError(f"there is no table {path}: write one with the columns file and label, and patient if known")
    try:
        text = path.read_text(encoding="utf-8-sig")  # some programs begin the file with a mark of UTF-8
    except UnicodeDecodeError as error:
        raise ValueError(f"{table}: it is not in UTF-8: save it as CSV UTF-8") from error
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = reader.fieldnames or []
    if not {"file", "label"} <= set(columns):
        raise ValueError(f"{table}: its columns are {list(columns)}, but must be named file, label and, if known, "
                         "patient, with commas between them")
    rows = [_row(f"{table}, line {reader.line_num}", folder, cells) for cells in reader]
    if not rows:
        raise ValueError(f"{table}: it lists no image")
    return rows


def _row(line: str, folder: Path, cells: dict[str, str]) -> _Row:
    if None in cells:
        raise ValueError(f"{line}: it has more cells than the first line has columns: quote cells that hold commas")
    for column in {"file", "label", "patient"} & set(cells):
        if (cells[column] or "").strip().lower() in MISSING:
            raise ValueError(f"{line}: the {column} is {cells[column]!r}, so it is missing: fill it in, or leave out "
                             "the line and the image")
    return _Row(folder / cells["file"].strip(), cells["label"].strip(), cells.get("patient", line).strip())


def _require_same_files(folder: Path, table: str, listed: list[Path]) -> None:
    """The table and the folder name the same images, each once."""
    there = {path.resolve(): path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()}
    seen = set()
    for path in listed:
        name, place = path.relative_to(folder) if path.is_relative_to(folder) else path, path.resolve()
        if place in seen:
            raise ValueError(f"{table}: {name} is listed twice: keep one line")
        if place not in there:
            rule = "there is no such file in the folder" if path.suffix.lower() in SUFFIXES else (
                f"its name ends in none of {', '.join(SUFFIXES)}")
            raise ValueError(f"{table}: {name} is listed, but {rule}: correct the line or leave it out")
        seen.add(place)
    if left := sorted(there[place].relative_to(folder).as_posix() for place in set(there) - seen):
        raise ValueError(f"{table}: {len(left)} images of the folder are not listed, such as {left[0]}: list them or "
                         "move them away")


def _classes(table: str, labels: list[str], given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return tuple(sorted(set(labels), key=_by_value))
    if unknown := sorted(set(labels) - set(given)):
        raise ValueError(f"{table}: the label {unknown[0]!r} is none of the classes {list(given)}: correct it or "
                         "add it")
    if empty := [name for name in given if name not in labels]:
        raise ValueError(f"{table}: the class {empty[0]!r} has no image: add some or leave the class out")
    return tuple(given)


def _by_value(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return math.inf, label


# The images

def _images(folder: Path, paths: list[Path], size: tuple[int, int] | None) -> Tensor:
    """(N, C, H, W), float32 in [0, 1]."""
    images, first = [], None
    for path in paths:
        name = path.relative_to(folder)
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


def _require_same(what: str, first: tuple, name: Path, one: object, other: object, remedy: str) -> None:
    if one != other:
        raise ValueError(f"images of one set have the same {what}, but {first[0]} has {one} and {name} has {other}: "
                         f"{remedy}")


def _array(name: Path, path: Path) -> np.ndarray:
    """The stored values (H, W, 1 or 3), uint8 or uint16."""
    try:
        with Image.open(path) as image:
            array, mode, frames = np.asarray(image), image.mode, getattr(image, "n_frames", 1)
    except Exception as error:  # a damaged file makes decoders raise almost anything; it stays as the cause
        raise ValueError(f"{name}: it can not be decoded as an image ({type(error).__name__}), so it is cut off, "
                         "damaged or of another format: copy it again from its source, or save it as PNG") from error
    if mode not in TYPES or frames > 1:
        raise ValueError(f"{name}: it holds {frames} image(s) of kind {mode!r}, but must hold one, in grey levels of 8 "
                         "or 16 bits or in RGB: save it so, without transparency, palette or animation")
    dtype, channels = TYPES[mode]
    return array.astype(dtype).reshape(*array.shape[:2], channels)


def _resized(array: np.ndarray, size: tuple[int, int] | None) -> Tensor:
    image = torch.from_numpy(array.astype(np.float32).transpose(2, 0, 1).copy()) / np.iinfo(array.dtype).max
    if size is None or size == image.shape[1:]:
        return image
    return interpolate(image[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)
