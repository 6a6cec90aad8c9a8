"""The table of a folder of images: which file has which label and patient, and what is refused.

The reader of the folder is ``companion.datasets.folder``.
"""

import csv
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("file", "label", "patient")

SUFFIXES = (".png", ".pgm", ".jpg", ".jpeg")

MISSING = ("", "nan", "na", "n/a")  # what programs write where a value is missing, in lower case

NO_FINDING = "no finding"  # in lower case: with a separator, it stands for none, as in ChestX-ray14


class Row(NamedTuple):
    """A line of the table."""

    line: str               # of the table, and
    name: str               # of the file: both for messages
    file: Path
    labels: tuple[str, ...]
    patient: str | None     # None where the table has no such column


def read_rows(folder: Path, table: str, prefix: str, separator: str | None) -> list[Row]:
    """The lines of a table, which names the images of its folder, each once.

    Args:
        folder, table, separator: as in ``companion.datasets.folder.load``.
        prefix: what stands before the names of files in messages.

    Raises:
        ValueError: as there, for all that concerns the table.
    """
    path, shown = folder / table, prefix + table
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, but must be a folder with a table and images: give the folder" if
                         folder.exists() else f"there is no folder {folder.absolute()}: correct the path")
    if not path.is_file():
        raise ValueError(f"there is no table {path}: write one with the columns file and label, and patient if known")
    try:
        text = path.read_text(encoding="utf-8-sig")  # some programs begin the file with a mark of UTF-8
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown}: it is not in UTF-8: save it as CSV UTF-8") from error
    reader = _reader(shown, text.splitlines())
    rows = [_row(f"{shown}, line {reader.line_num}", folder, prefix, cells, separator) for cells in reader]
    if not rows:
        raise ValueError(f"{shown}: it lists no image")
    _require_same_files(folder, shown, rows)
    return rows


def _reader(shown: str, lines: list[str]) -> csv.DictReader:
    """Semicolons are what spreadsheets write where numbers have a decimal comma."""
    readers = [csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True) for delimiter in ",;\t"]
    for reader in readers:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
    reader = max(readers, key=lambda one: (len({"file", "label"} & set(one.fieldnames)), len(one.fieldnames)))
    _require_columns(shown, reader.fieldnames)
    return reader


def _require_columns(shown: str, names: list[str]) -> None:
    """Each column once, under its own name: what is dropped for another name would be missed by nobody."""
    if not {"file", "label"} <= set(names):
        raise ValueError(f"{shown}: its columns are {names}, but must be named file, label and, if known, patient, in "
                         "lower case, with commas, semicolons or tabs between them")
    for column in COLUMNS:
        if len(same := [name for name in names if name.lower() == column]) > 1:
            raise ValueError(f"{shown}: the column {column} is there twice ({', '.join(same)}): keep one and rename or "
                             "remove the other")
    near = [name for name in names if "patient" in name.lower()]
    if near and "patient" not in names:
        raise ValueError(f"{shown}: it has no column patient, but {near[0]!r}, and without it nobody knows whether a "
                         "patient is in two sets: rename it to patient, or remove it if it does not name them")


def _row(line: str, folder: Path, prefix: str, cells: dict[str, str], separator: str | None) -> Row:
    if None in cells:
        raise ValueError(f"{line}: it has more cells than the first line has columns: quote cells that hold commas, "
                         "semicolons or tabs")
    for column in set(COLUMNS) & set(cells):
        if (cells[column] or "").strip().lower() in MISSING:
            raise ValueError(f"{line}: the {column} is {cells[column]!r}, so it is missing: fill it in, or leave out "
                             "the line and the image")
    file = folder / cells["file"].strip()
    name = file.relative_to(folder) if file.is_relative_to(folder) else file
    return Row(line, prefix + name.as_posix(), file, _findings(line, cells["label"].strip(), separator),
               cells["patient"].strip() if "patient" in cells else None)


def _findings(line: str, label: str, separator: str | None) -> tuple[str, ...]:
    """What the label of an image names, each once: one class, or with a separator any number of findings."""
    if separator is None:
        if "|" in label:
            raise ValueError(f"{line}: the label {label!r} holds '|': if it names several findings, give load "
                             "separator='|', else rename the class")
        return (label,)
    found = tuple(dict.fromkeys(part.strip() for part in label.split(separator)))
    if any(part.lower() in MISSING for part in found):
        raise ValueError(f"{line}: the label is {label!r}, so a finding is missing beside a {separator!r}: fill it in")
    none = [part for part in found if part.lower() == NO_FINDING]
    if none and len(found) > 1:
        raise ValueError(f"{line}: the label is {label!r}, a finding and none at once: leave out one of them")
    return () if none else found


def _require_same_files(folder: Path, shown: str, rows: list[Row]) -> None:
    """The table and the folder name the same images, each once."""
    there = {path.resolve(): path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()}
    seen = set()
    for row in rows:
        place = row.file.resolve()
        if place in seen:
            raise ValueError(f"{shown}: {row.name} is listed twice: keep one line")
        if place not in there:
            rule = "there is no such file in the folder" if row.file.suffix.lower() in SUFFIXES else (
                f"its name ends in none of {', '.join(SUFFIXES)}")
            raise ValueError(f"{shown}: {row.name} is listed, but {rule}: correct the line or leave it out")
        seen.add(place)
    left = sorted(there[place].relative_to(folder) for place in set(there) - seen)
    if left := [path for path in left if not any(part.startswith(".") for part in path.parts)]:  # but what is hidden
        raise ValueError(f"{shown}: {len(left)} images of the folder are not listed, such as {left[0].as_posix()}: "
                         "list them or move them away")
