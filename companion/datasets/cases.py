"""Images with everything known about them: what every phantom and every loader of real data returns.

A notebook written for one set runs on another by changing the line that makes it. Book: *Data of this book*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cases:
    """N images with labels, and, where known, masks, boxes, patients and the parameters they were made from.

    Works as a torch dataset: ``cases[i]`` is the pair (image, label), so a ``DataLoader`` takes it as it is.

    Args:
        images: (N, C, H, W) or (N, C, D, H, W), float32, in ``unit``.
        labels: (N,) int64 class numbers, (N, K) float32 of several findings (0 or 1 each), or (N,) float32 values.
        classes: name of each class or finding.
        patients: (N,) int64; images of one patient share a number and must not be split.
        unit: of the image values, such as ``HU``; empty where they have none.
        spacing: size of a pixel or voxel in mm, one number per spatial axis, in the order of the axes.
        masks: by name, each (N, \\*spatial) bool.
        boxes: one tensor per image, (n, 4) as (x0, y0, x1, y1) or (n, 6) as (x0, y0, z0, x1, y1, z1), in pixels, where
            x is the column, y the row, z the plane, and the upper edge is exclusive (as in torchvision).
        box_labels: one tensor (n,) int64 per image.
        parameters: what a phantom was drawn from.

    Raises:
        ValueError: where lengths or shapes disagree, a class number is out of range, or an image value is not finite.
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
        n, spatial = len(self.images), self.images.shape[2:]
        if len(spatial) not in (2, 3):
            raise ValueError(f"images have shape {tuple(self.images.shape)}, but must be (N, C, H, W) "
                             "or (N, C, D, H, W)")
        for name in ("labels", "patients", "boxes", "box_labels"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise ValueError(f"there are {n} images, but {len(value)} {name}")
        for name, mask in self.masks.items():
            if mask.shape != (n, *spatial):
                raise ValueError(f"mask {name!r} has shape {tuple(mask.shape)}, but the images need {(n, *spatial)}")
        if n and self.labels.dim() == 1 and not self.labels.is_floating_point():
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < 0 or high >= len(self.classes):
                raise ValueError(f"labels run from {low} to {high}, but there are {len(self.classes)} classes, "
                                 "numbered from 0")
        if not torch.isfinite(self.images).all():
            bad = (~torch.isfinite(self.images)).flatten(1).any(1).nonzero().flatten().tolist()
            raise ValueError(f"images {bad[:5]} hold NaN or infinite values: mend or leave them out")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image and label of one case."""
        return self.images[index], self.labels[index]

    def select(self, index: Tensor) -> "Cases":
        """The cases at the given numbers (M,), in that order, with all that belongs to them.

        The parameters are kept for the whole set only and dropped here.
        """
        chosen = index.tolist()
        return replace(self, images=self.images[index], labels=self.labels[index], patients=self.patients[index],
                       masks={k: v[index] for k, v in self.masks.items()}, parameters=None,
                       boxes=self.boxes and [self.boxes[i] for i in chosen],
                       box_labels=self.box_labels and [self.box_labels[i] for i in chosen])

    def to(self, device: torch.device) -> "Cases":
        """The same cases with their tensors on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("images", "labels", "patients"):
            moved[name] = moved[name].to(device)
        moved["masks"] = {k: v.to(device) for k, v in self.masks.items()}
        for name in ("boxes", "box_labels"):
            moved[name] = moved[name] and [t.to(device) for t in moved[name]]
        return Cases(**moved)
