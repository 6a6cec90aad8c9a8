"""The shape of one finding in the lung phantom: a body with lobes, core and inclusions, and strands that leave it.

Nodules and what can be mistaken for them are made of the same parts: a crossing of vessels is strands without a body, a
scar a flat body, a spiculated cancer a lobed body with thin tapered strands.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms.lung_geometry import coarse, refine
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
    away = [grid((s,), (d,), offset.device)[:, 0] - o[:, None] for s, d, o in zip(size, spacing, offset.T, strict=True)]
    width, shape = max(spacing), (-1, 1, 1, 1)
    exists, share = finding.radii.amin(1).view(shape) > 0, finding.core.view(shape)
    distance = _distance(finding, away, _bulges(finding, offset, size, spacing))
    glass = (0.5 - distance / finding.edge.clamp_min(width).view(shape)).clamp(0, 1) * (exists & (share < 1))
    inner = distance + (1 - share) * finding.radii.mean(1).view(shape)
    lines = strands(finding.strands, finding.strand_radii, size, spacing, -offset, width)
    solid = torch.maximum(occupancy(inner, width) * (exists & (share > 0)), lines)
    return Layers(glass, solid, _included(finding, away, solid, width))


def _distance(finding: Finding, away: list[Tensor], bulge: Tensor) -> Tensor:
    """Approximate distance (N, \\*size) in mm to the ellipsoid with its bulges; away: (N, D), (N, H), (N, W)."""
    radii = finding.radii.clamp_min(1e-3)
    reach = _form(finding.turn, radii ** -2, away).sqrt()
    slope = _form(finding.turn, radii ** -4, away).sqrt().clamp_min(1e-6)
    distance = reach * (reach - 1 - bulge) / slope
    return torch.where(reach > 1e-3, distance, -finding.radii.amin(1).view(-1, 1, 1, 1))


def _form(turn: Tensor, weights: Tensor, away: list[Tensor]) -> Tensor:
    """Sum of the squared coordinates in the body's axes, each times its weight (N, 3), at every voxel (N, D, H, W)."""
    m = (turn * weights[:, None]) @ turn.transpose(1, 2)                            # the quadratic form in z, y, x
    z, y, x = away[0][:, :, None, None], away[1][:, None, :, None], away[2][:, None, None, :]
    a, b, c, ab, ac, bc = (m[:, i, j].view(-1, 1, 1, 1) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    return (z * (2 * ab * y + 2 * ac * x) + (a * z * z) + (b * y * y + 2 * bc * y * x + c * x * x)).clamp_min(0)


def _bulges(finding: Finding, offset: Tensor, size: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Height of the lobes in the direction of each voxel (N, \\*size), as a share of the radius."""
    points = coarse(size, spacing, 2.5, offset.device) - offset[:, None, None, None]               # (N, \\*counts, 3)
    own = torch.nn.functional.normalize(points.flatten(1, 3) @ finding.turn, dim=-1)
    toward = own @ finding.lobes.transpose(1, 2)                                    # cosines (N, P, L)
    lobes = (0.5 + 0.5 * toward).square().square().square().square()                # some 40 degrees wide
    return refine((lobes @ finding.heights[..., None]).view(points.shape[:-1]), size)


def _included(finding: Finding, away: list[Tensor], solid: Tensor, width: float) -> Tensor:
    """CT value of the solid part (N, \\*size), with calcium and fat in it, one inclusion after the other."""
    value = finding.solid.view(-1, 1, 1, 1).expand_as(solid).clone()
    cases = (finding.inclusions[..., 3].amax(1) > 0).nonzero()[:, 0]
    part, near, some = finding.of(cases), [a[cases] for a in away], value[cases]
    radii = part.radii.clamp_min(1e-3)
    for i in range(part.inclusions.shape[1]):
        place, radius = part.inclusions[:, i, :3], part.inclusions[:, i, 3].view(-1, 1, 1, 1)
        centre = ((place * radii)[:, None] @ part.turn.transpose(1, 2))[:, 0]       # (M, 3) in z, y, x
        reach = _form(part.turn, radii ** -2, [a - c[:, None] for a, c in zip(near, centre.T, strict=True)]).sqrt()
        share = occupancy((reach - radius) * radii.mean(1).view(-1, 1, 1, 1), width) * (radius > 0)
        some = paint(some, share, part.inclusion_values[:, i].view(-1, 1, 1, 1))
    value[cases] = some
    return value
