"""The shape of one finding in the lung phantom: a body with lobes, core and inclusions, and strands that leave it.

Nodules and what can be mistaken for them are made of the same parts: a crossing of vessels is strands without a body, a
scar a flat body, a spiculated cancer a lobed body with thin tapered strands.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import grid, occupancy, paint
from companion.datasets.phantoms.trees import strands


@dataclass(frozen=True)
class Finding:
    """N findings, in mm from their own middle, along z, y, x.

    Args:
        radii: (N, 3) of the body along its own axes, in mm; all 0 for no body.
        turn: (N, 3, 3) whose columns are these axes.
        lobes: (N, L, 3) unit vectors, in the body's axes, toward the bulges; heights: (N, L) of these, as a share of
            the radius, negative for a notch.
        core: (N,) solid part as a share of the radius: 1 solid, 0 ground glass, between part-solid.
        solid, glass: (N,) CT value of the solid part and of the ground glass, in HU.
        edge: (N,) width of the ground glass's margin, in mm.
        inclusions: (N, I, 4) calcium or fat, painted in turn: middle along z, y, x and radius, as a share of the
            body's radii; radius 0 for none. inclusion_values: (N, I) in HU.
        strands: (N, S, 3, 3) curves (start, control point, end); strand_radii: (N, S, 2) in mm, 0 for none.
    """

    radii: Tensor
    turn: Tensor
    lobes: Tensor
    heights: Tensor
    core: Tensor
    solid: Tensor
    glass: Tensor
    edge: Tensor
    inclusions: Tensor
    inclusion_values: Tensor
    strands: Tensor
    strand_radii: Tensor

    def of(self, index: Tensor) -> "Finding":
        """The findings with these numbers (M,), in that order."""
        return Finding(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device) -> "Finding":
        """The same findings on another device."""
        return Finding(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class Layers:
    """What a finding adds to an image, each (N, D, H, W): shares of ground glass and of solid, the solid's HU."""

    glass: Tensor
    solid: Tensor
    value: Tensor


def layers(finding: Finding, offset: Tensor, size: Sequence[int], spacing: Sequence[float]) -> Layers:
    """The finding in an image.

    Args:
        offset: (N, 3) position of the finding from the middle of the image, in mm.
        size, spacing: of the image, in voxels and in mm.
    """
    points = grid(size, spacing, offset.device).flatten(0, 2) - offset[:, None]     # (N, P, 3)
    own, width = points @ finding.turn, max(spacing)
    exists, share = finding.radii.amin(1, keepdim=True) > 0, finding.core[:, None]
    distance = _distance(finding, own)
    glass = (0.5 - distance / finding.edge.clamp_min(width)[:, None]).clamp(0, 1) * (exists & (share < 1))
    inner = distance + (1 - share) * finding.radii.mean(1, keepdim=True)
    core = occupancy(inner, width) * (exists & (share > 0))
    value = _included(finding, own, width)
    lines = strands(finding.strands, finding.strand_radii, size, spacing, -offset, width)
    shape = (len(offset), *size)
    return Layers(glass.view(shape), torch.maximum(core.view(shape), lines), value.view(shape))


def _distance(finding: Finding, own: Tensor) -> Tensor:
    """Approximate distance (N, P) in mm to the lobed ellipsoid; own (N, P, 3) lies in the body's axes."""
    radii = finding.radii.clamp_min(1e-3)[:, None]
    scaled = own / radii
    reach = scaled.norm(dim=-1)
    slope = (scaled / radii).norm(dim=-1).clamp_min(1e-6)
    toward = own @ finding.lobes.transpose(1, 2) / own.norm(dim=-1, keepdim=True).clamp_min(1e-6)   # cosines (N, P, L)
    bulge = (0.5 + 0.5 * toward).square().square().square() @ finding.heights[..., None]
    distance = reach * (reach - 1 - bulge[..., 0]) / slope
    return torch.where(reach > 1e-3, distance, -finding.radii.amin(1, keepdim=True))


def _included(finding: Finding, own: Tensor, width: float) -> Tensor:
    """CT value of the solid part (N, P), with calcium and fat in it, one inclusion after the other."""
    value = finding.solid[:, None].repeat(1, own.shape[1])
    cases = (finding.inclusions[..., 3].amax(1) > 0).nonzero()[:, 0]
    radii = finding.radii[cases].clamp_min(1e-3)
    scaled, some = own[cases] / radii[:, None], value[cases]
    for i in range(finding.inclusions.shape[1]):
        place = finding.inclusions[cases, i, None]                                  # (M, 1, 4)
        distance = ((scaled - place[..., :3]).norm(dim=-1) - place[..., 3]) * radii.mean(1, keepdim=True)
        share = occupancy(distance, width) * (place[..., 3] > 0)
        some = paint(some, share, finding.inclusion_values[cases, i, None])
    value[cases] = some
    return value
