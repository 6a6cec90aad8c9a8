"""Volumes of many patients on one grid, as ``Cases``: resampled, cropped and padded. Book: *Bring your own data*.

The readers ``companion.datasets.dicom`` and ``nifti`` return each examination on the grid on which it was taken. A
batch needs one size of voxel and one number of voxels.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from companion.datasets.cases import Cases
from companion.datasets.volume import Triple, Volume

AIR = -1000.0    # HU, beyond the edge of a CT
ON_VOXEL = 4     # decimals of a voxel: nearer to a centre is rounding of the spacing, and nothing is interpolated
SAME_PLACE = 0.01  # mm by which the corners of a mask may lie beside those of its volume


def cases(volumes: Sequence[Volume], labels: Tensor | Sequence, classes: Sequence[str],
          patients: Tensor | Sequence[int], spacing: Triple, size: tuple[int, int, int],
          masks: Mapping[str, Sequence[Volume]] | None = None) -> Cases:
    """Put volumes on one grid, each about its own centre, and stack them.

    Values are interpolated linearly between voxel centres, and a mask holds where half of it or more does; where the
    spacing is that of the volume, no value changes. Beyond its edge a volume in HU holds -1000 (air), another 0, a mask
    nothing. Axes stay those of each volume, oblique or not. Nothing is smoothed first: fine noise of a volume with
    much smaller voxels turns into coarse noise.

    Args:
        volumes: N volumes of one modality, unit and orientation.
        labels: (N,) class numbers or values, or (N, K) findings, as in ``Cases``.
        classes: name of each class or finding.
        patients: (N,) whole numbers; volumes of one patient share a number.
        spacing: size of a voxel of the cases along D, H and W, in mm.
        size: number of voxels along D, H and W.
        masks: by name, N volumes of zeros and ones, each on the grid of its volume.

    Returns:
        Images (N, 1, D, H, W) float32 in the volumes' unit; masks (N, D, H, W) bool.

    Raises:
        ValueError: where a volume or a mask breaks one of these rules, a mask is empty on the new grid but was not
            before, or ``Cases`` refuses the labels or the patients.
    """
    _require_grid(spacing, size)
    _require_alike(volumes)
    edge = AIR if volumes[0].unit == "HU" else 0.0
    images = torch.stack([_on_grid(v.array, v.spacing, spacing, size, edge) for v in volumes])[:, None]
    drawn = {name: torch.stack(_masks(name, volumes, given, spacing, size)) for name, given in (masks or {}).items()}
    return Cases(images=images, labels=_numbers("labels", labels, images), classes=tuple(classes), masks=drawn,
                 patients=_numbers("patients", patients, images), unit=volumes[0].unit, spacing=tuple(spacing))


def _require_grid(spacing: Triple, size: tuple[int, int, int]) -> None:
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"the spacing is {spacing}, but must be three positive numbers (D, H, W), in mm")
    if len(size) != 3 or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError(f"the size is {size}, but must be three whole numbers of voxels (D, H, W), each at least 1")


def _require_alike(volumes: Sequence[Volume]) -> None:
    if not volumes:
        raise ValueError("there is no volume, but must be at least one")
    for what, remedy in (("modality", "make cases of each modality"), ("unit", "read all in the same unit"),
                         ("orientation", "turn it with volume.reoriented")):
        first = getattr(volumes[0], what)
        for number, volume in enumerate(volumes):
            if (other := getattr(volume, what)) != first:
                raise ValueError(f"volume {number} has the {what} {other!r}, but volume 0 has {first!r}: {remedy}")


def _numbers(name: str, values: Tensor | Sequence, images: Tensor) -> Tensor:
    """Labels or patients as a tensor where the images are; whole numbers as int64, others as float32."""
    try:
        numbers = torch.as_tensor(values, device=images.device)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the {name} are {values!r}, but must be numbers: give each a number, as with "
                         "sorted(set(names)).index(name)") from error
    if name == "patients" and numbers.is_floating_point():
        raise ValueError(f"the patients are {values!r}, but must be whole numbers")
    return numbers.float() if numbers.is_floating_point() else numbers.long()


def _masks(name: str, volumes: Sequence[Volume], masks: Sequence[Volume], spacing: Triple,
           size: tuple[int, int, int]) -> list[Tensor]:
    """The masks of one name, each (D, H, W) bool."""
    if len(masks) != len(volumes):
        raise ValueError(f"there are {len(volumes)} volumes, but {len(masks)} masks {name!r}")
    found = []
    for number, (volume, mask) in enumerate(zip(volumes, masks, strict=True)):
        which = f"mask {name!r} of volume {number}"
        if mask.array.shape != volume.array.shape or _beside(mask, volume) > SAME_PLACE:
            raise ValueError(f"{which} lies on another grid, {mask}, than its volume, {volume}: resample it to the "
                             "grid of the volume")
        if not ((mask.array == 0) | (mask.array == 1)).all():
            raise ValueError(f"{which} holds values from {mask.array.min():g} to {mask.array.max():g}, but must hold "
                             "0 and 1 alone: choose a label with replace(mask, array=(mask.array == label).float())")
        found.append(_on_grid(mask.array, mask.spacing, spacing, size, 0.0) >= 0.5)
        if mask.array.any() and not found[-1].any():
            raise ValueError(f"{which} is lost on a grid of {tuple(size)} voxels of {tuple(spacing)} mm: take more "
                             "voxels, or smaller ones")
    return found


def _beside(one: Volume, other: Volume) -> float:
    """Largest distance along an axis between corners that should be the same, in mm."""
    last = [n - 1 for n in one.array.shape]
    corners = [[last[axis] * (axis == turn) for axis in range(3)] for turn in range(4)]
    return max(abs(a - b) for c in corners for a, b in zip(one.position(*c), other.position(*c), strict=True))


def _on_grid(array: Tensor, old: Triple, new: Triple, size: tuple[int, int, int], edge: float) -> Tensor:
    """Array (D, H, W) of spacing ``old`` as one of spacing ``new`` and this size about the same centre."""
    for axis in range(3):
        array = _along(array, axis, new[axis] / old[axis], size[axis], edge)
    return array


def _along(array: Tensor, axis: int, step: float, size: int, edge: float) -> Tensor:
    """One axis on a new grid, ``step`` old voxels apart.

    The new grid has as many voxels as cover the old one; whole voxels are then cut off or added at both ends, the odd
    one at the far end. So nothing is interpolated where the spacing stays.
    """
    old = array.shape[axis]
    covering = max(1, round(old / step))
    index = torch.arange(size, dtype=torch.float64) + int((covering - size) / 2) - (covering - 1) / 2
    place = (index * step + (old - 1) / 2).round(decimals=ON_VOXEL)
    inside = ((place >= -0.5) & (place <= old - 0.5)).to(array.device)
    low = place.floor()
    share = place - low
    low, high = (number.clamp(0, old - 1).long().to(array.device) for number in (low, low + 1))
    shape = [-1 if a == axis else 1 for a in range(3)]
    share = share.float().to(array.device).reshape(shape)
    found = torch.lerp(array.index_select(axis, low), array.index_select(axis, high), share)
    return torch.where(inside.reshape(shape), found, torch.full_like(found, edge))
