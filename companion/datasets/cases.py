"""Images with everything known about them: what every phantom and every loader of real data returns.

A notebook written for one set runs on another by changing the line that makes it. Book: *Data of this book*.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

MOST_NAMES = 10    # of classes, in one line


@dataclass(frozen=True)
class Cases:
    """N images with labels, and, where known, masks, boxes, patients and the parameters they were made from.

    Works as a torch dataset: ``cases[i]`` is the pair (image, label), so a ``DataLoader`` takes it as it is.

    Args:
        images: (N, C, H, W) or (N, C, D, H, W), float32, in ``unit``.
        labels: (N,) int64 class numbers, (N, K) float32 of several findings (0 or 1 each), or (N,) float32 values.
        classes: name of each class, or of each of the K findings.
        patients: (N,) int64; images of one patient share a number and must not be split.
        unit: of the image values, such as ``HU``; empty where they have none.
        spacing: size of a pixel or voxel in mm, one number per spatial axis, in the order of the axes.
        masks: by name, each (N, \\*spatial) bool.
        boxes: one tensor per image, (n, 4) as (x0, y0, x1, y1) or (n, 6) as (x0, y0, z0, x1, y1, z1), in pixels, where
            x is the column, y the row, z the plane, and the upper edge is exclusive (as in torchvision).
        box_labels: one tensor (n,) int64 per image.
        parameters: what a phantom was drawn from.

    Raises:
        ValueError: where lengths, shapes or types are not these, a class number is out of range, a label is missing
            (NaN), or an image value is not finite.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    patients: Tensor
    unit: str = ""
    spacing: tuple[float, ...] | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    boxes: Sequence[Tensor] | None = None
    box_labels: Sequence[Tensor] | None = None
    parameters: object = None

    def __post_init__(self):
        _require_images(self.images)
        for name in ("labels", "patients", "boxes", "box_labels"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.images):
                raise ValueError(f"there are {len(self.images)} images, but {len(value)} {name}")
        _require_labels(self.labels, self.classes)
        _require_patients(self.patients)
        _require_spacing(self.spacing, self.images.dim() - 2)
        for name, mask in self.masks.items():
            _require_mask(name, mask, (len(self.images), *self.images.shape[2:]))
        _require_boxes(self.boxes, self.box_labels, self.images.dim() - 2)

    def __repr__(self) -> str:
        """Size and kind in one line, such as ``Cases(240 images (1, 32, 32), classes benign/malignant, ...)``."""
        few = len(self.classes) <= MOST_NAMES
        parts = [f"{_count(len(self), 'image')} {tuple(self.images.shape[1:])}",
                 f"classes {'/'.join(self.classes)}" if few else f"{len(self.classes)} classes",
                 _count(len(self.patients.unique()), "patient")]
        if self.unit:
            parts.append(f"unit {self.unit}")
        if self.spacing is not None:
            parts.append(f"spacing {' x '.join(f'{s:.4g}' for s in self.spacing)} mm")
        return f"Cases({', '.join(parts)})"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image and label of one case."""
        return self.images[index], self.labels[index]

    def select(self, index: Tensor | Sequence[int]) -> "Cases":
        """The cases at the given numbers (M,), in that order, with all that belongs to them; or where (N,) is true.

        Parameters choose by their methods ``of(index)`` and ``to(device)``, which those of all phantoms have: they
        alone know what belongs to a case and what to a patient. Other parameters are dropped.
        """
        index = numbers(index, len(self)).to(self.images.device)
        chosen = index.tolist()
        return replace(self, images=self.images[index], labels=self.labels[index], patients=self.patients[index],
                       masks={k: v[index] for k, v in self.masks.items()}, parameters=self._parameters_of(index),
                       boxes=self.boxes and [self.boxes[i] for i in chosen],
                       box_labels=self.box_labels and [self.box_labels[i] for i in chosen])

    def middle_planes(self) -> "Cases":
        """2D cases of the middle plane, number D // 2, of each volume: images (N, C, D, H, W) to (N, C, H, W).

        Masks are cut there, boxes that reach through the middle of the plane lose z, others are dropped with their
        labels. All else stays, labels too, even where what they name lies in another plane. 2D cases stay as they are.
        """
        if self.images.dim() == 4:
            return self
        plane = self.images.shape[2] // 2
        cut = [(b[:, 2] <= plane + 0.5) & (b[:, 5] > plane + 0.5) for b in self.boxes or ()]
        return replace(self, images=self.images[:, :, plane].contiguous(), spacing=self.spacing and self.spacing[1:],
                       masks={k: v[:, plane].contiguous() for k, v in self.masks.items()},
                       boxes=self.boxes and [b[c][:, [0, 1, 3, 4]] for b, c in zip(self.boxes, cut, strict=True)],
                       box_labels=self.box_labels and [t[c] for t, c in zip(self.box_labels, cut, strict=True)])

    def to(self, device: torch.device) -> "Cases":
        """The same cases with their tensors on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("images", "labels", "patients"):
            moved[name] = moved[name].to(device)
        moved["masks"] = {k: v.to(device) for k, v in self.masks.items()}
        for name in ("boxes", "box_labels"):
            moved[name] = moved[name] and [t.to(device) for t in moved[name]]
        return Cases(**moved)

    def _parameters_of(self, index: Tensor) -> object:
        if index.tolist() == list(range(len(self))):
            return self.parameters
        if not hasattr(self.parameters, "of"):
            return None
        return self.parameters.to(index.device).of(index)


def numbers(index: Tensor | Sequence[int] | Sequence[bool], n: int) -> Tensor:
    """Which of n cases are meant: numbers (M,), where -1 is the last case, or n times true or false; as int64 (M,).

    Raises:
        ValueError: for other shapes and types, or a number that no case has.
    """
    index = torch.as_tensor(index)
    whole = not (index.is_floating_point() or index.is_complex()) or not index.numel()
    if index.dim() != 1 or not whole or (index.dtype == torch.bool and len(index) != n):
        raise ValueError(f"the index is {_kind(index)} of shape {tuple(index.shape)}, but must be whole numbers (M,), "
                         f"or {n} times true or false, one for each case")
    if index.dtype == torch.bool:
        return index.nonzero()[:, 0]
    if len(index) and not -n <= index.min() <= index.max() < n:
        raise ValueError(f"the index runs from {index.min()} to {index.max()}, but there are {n} cases, numbered "
                         "from 0")
    return index.long() % max(n, 1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _require_images(images: Tensor) -> None:
    if images.dim() not in (4, 5):
        raise ValueError(f"images have shape {tuple(images.shape)}, but must be (N, C, H, W) or (N, C, D, H, W)")
    if images.dtype != torch.float32:
        raise ValueError(f"images are {_kind(images)}, but must be float32: convert them with images.float()")
    if not torch.isfinite(images).all():
        bad = (~torch.isfinite(images)).flatten(1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"images {bad[:5]} hold NaN or infinite values: mend or leave them out")


def _require_labels(labels: Tensor, classes: Sequence[str]) -> None:
    if labels.dim() not in (1, 2) or labels.dtype not in (torch.int64, torch.float32):
        raise ValueError(f"labels are {_kind(labels)} of shape {tuple(labels.shape)}, but must be class numbers (N,) "
                         "of int64, values (N,) of float32, or findings (N, K) of 0 and 1 as float32: convert them "
                         "with labels.long() or labels.float()")
    if bad := (~torch.isfinite(labels)).nonzero()[:, 0].unique().tolist():
        raise ValueError(f"labels {bad[:5]} are NaN or infinite: leave out cases whose label is not known")
    if labels.dim() == 2:
        _require_findings(labels, classes)
    elif len(labels) and not labels.is_floating_point():
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(classes):
            raise ValueError(f"labels run from {low} to {high}, but there are {len(classes)} classes, numbered from 0")


def _require_findings(labels: Tensor, classes: Sequence[str]) -> None:
    if labels.shape[1] != len(classes):
        raise ValueError(f"labels have {labels.shape[1]} columns, but there are {len(classes)} classes: give one "
                         "column for each; one class for each image is a label of shape (N,), as labels[:, 0]")
    if not labels.is_floating_point():
        raise ValueError(f"labels of several findings are {_kind(labels)}, but must be float32: convert them with "
                         "labels.float()")
    if other := labels[(labels != 0) & (labels != 1)].tolist():
        raise ValueError(f"labels of several findings hold {other[0]:g}, but must be 0 or 1 each: values go one to an "
                         "image, (N,)")


def _require_patients(patients: Tensor) -> None:
    if patients.dim() != 1 or patients.is_floating_point() or patients.is_complex() or patients.dtype == torch.bool:
        raise ValueError(f"patients are {_kind(patients)} of shape {tuple(patients.shape)}, but must be whole numbers "
                         "(N,): number them, with torch.arange(N) where each image has its own")


def _require_spacing(spacing: Sequence[float] | None, axes: int) -> None:
    if spacing is not None and (len(spacing) != axes or not all(math.isfinite(s) and s > 0 for s in spacing)):
        raise ValueError(f"spacing is {tuple(spacing)}, but must be {axes} positive numbers of mm, one for each "
                         "spatial axis: leave it out where it is not known")


def _require_mask(name: str, mask: Tensor, shape: tuple[int, ...]) -> None:
    if mask.shape != shape:
        raise ValueError(f"mask {name!r} has shape {tuple(mask.shape)}, but the images need {shape}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask {name!r} is {_kind(mask)}, but must be bool: convert it with mask > 0")


def _require_boxes(boxes: Sequence[Tensor] | None, labels: Sequence[Tensor] | None, axes: int) -> None:
    if boxes is None:
        if labels is not None:
            raise ValueError("there are box_labels, but no boxes: give both, or neither")
        return
    for number, box in enumerate(boxes):
        if box.dim() != 2 or box.shape[1] != 2 * axes:
            raise ValueError(f"boxes {number} have shape {tuple(box.shape)}, but images of {axes} spatial axes need "
                             f"(n, {2 * axes}), (0, {2 * axes}) for none")
        if labels is not None and labels[number].shape != box.shape[:1]:
            raise ValueError(f"box_labels {number} have shape {tuple(labels[number].shape)}, but there are {len(box)} "
                             "boxes: give one number for each")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
