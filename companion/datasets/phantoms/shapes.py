"""Shapes and textures that phantoms are painted with: grids in mm, ellipsoids, tubes, branching trees, power-law noise.

All functions work on a batch at once, on the device of their inputs. A shape is a signed distance in mm (negative
inside); ``occupancy`` turns it into the share of each voxel that the shape fills, so that edges show partial volume as
a scanner does.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """n numbers between low and high (n,), drawn on the generator's device."""
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)


def grid(size: Sequence[int], spacing: Sequence[float], device: torch.device | None = None) -> Tensor:
    """Positions of the voxel centres in mm, from the centre of the image: (\\*size, axes), in the order of the axes."""
    axes = [(torch.arange(s, device=device) - (s - 1) / 2) * d for s, d in zip(size, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def rotation(angles: Tensor) -> Tensor:
    """Rotation matrices (N, 2, 2) from angles (N,), or (N, 3, 3) from angles (N, 3) about the three axes; radians."""
    if angles.dim() == 1:
        c, s = angles.cos(), angles.sin()
        return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    turned = torch.eye(3, device=angles.device).expand(len(angles), 3, 3)
    for axis, (a, b) in enumerate(((1, 2), (0, 2), (0, 1))):
        turn = torch.eye(3, device=angles.device).repeat(len(angles), 1, 1)
        c, s = angles[:, axis].cos(), angles[:, axis].sin()
        turn[:, a, a], turn[:, a, b], turn[:, b, a], turn[:, b, b] = c, -s, s, c
        turned = turned @ turn
    return turned


def ellipsoid(points: Tensor, centre: Tensor, radii: Tensor, turn: Tensor | None = None) -> Tensor:
    """Approximate signed distance in mm to ellipsoids (ellipses in 2D).

    Args:
        points: (\\*size, axes) or (N, \\*size, axes), in mm.
        centre, radii: (N, axes), in mm.
        turn: rotation matrices (N, axes, axes), whose columns are the ellipsoids' own axes; by default none.

    Returns:
        (N, \\*size), exact on the surface and for spheres, a first-order approximation elsewhere.
    """
    axes = centre.shape[1]
    shape = (-1, *[1] * axes, axes)
    offset = points - centre.view(shape)                                           # (N, *size, axes)
    if turn is not None:
        offset = torch.einsum("n...a,nab->n...b", offset, turn)
    scaled = offset / radii.view(shape)
    reach = scaled.norm(dim=-1)
    slope = (scaled / radii.view(shape)).norm(dim=-1).clamp_min(1e-6)
    return torch.where(reach > 1e-4, reach * (reach - 1) / slope, -radii.amin(-1).view(shape[:-1]))


def occupancy(distance: Tensor, width: float) -> Tensor:
    """Share of each voxel inside a shape: 1 where the distance is below -width/2, 0 above, linear between (mm)."""
    return (0.5 - distance / width).clamp(0, 1)


def paint(image: Tensor, share: Tensor, value: Tensor | float) -> Tensor:
    """The image with ``value`` where ``share`` is 1, and a mixture where it is between 0 and 1."""
    return image + share * (value - image)


def paint_parts(image: Tensor, parts: Iterable[tuple[Tensor, Tensor]], width: float) -> Tensor:
    """The image (N, \\*size), changed in place: parts painted over each other with soft edges.

    The same as ``paint`` with the ``occupancy`` of one part after the other, in less memory and time.

    Args:
        parts: signed distance in mm (N, \\*size) and value, a tensor that broadcasts to the image, of each part.
        width: of the soft edges in mm.
    """
    for distance, value in parts:
        image.lerp_(value, (distance / -width).add_(0.5).clamp_(0, 1))
    return image


def tubes(points: Tensor, starts: Tensor, ends: Tensor, radii: Tensor) -> Tensor:
    """Signed distance in mm to the nearest of S straight tubes with round ends.

    Args:
        points: (\\*size, axes), in mm.
        starts, ends: (N, S, axes), in mm; radii: (N, S), in mm, below 0 for a tube to leave out.

    Returns:
        (N, \\*size).
    """
    flat = points.reshape(-1, points.shape[-1])                                    # (V, axes)
    nearest = torch.full((len(starts), len(flat)), math.inf, device=points.device)
    for s in range(starts.shape[1]):
        a, along = starts[:, s, None], (ends - starts)[:, s, None]                 # (N, 1, axes)
        offset = flat - a
        t = ((offset * along).sum(-1) / along.square().sum(-1).clamp_min(1e-9)).clamp(0, 1)
        gap = (offset - t[..., None] * along).norm(dim=-1) - radii[:, s, None]
        nearest = torch.minimum(nearest, torch.where(radii[:, s, None] > 0, gap, math.inf))
    return nearest.view(len(starts), *points.shape[:-1])


def power_law(shape: Sequence[int], beta: float | Tensor, generator: torch.Generator,
              device: torch.device | None = None) -> Tensor:
    """Gaussian texture whose power falls with spatial frequency as 1 / f^beta, with mean 0 and standard deviation 1.

    Args:
        shape: (N, \\*size).
        beta: exponent, one number or (N,); 0 is white noise, 3 is typical of mammograms (Burgess et al., 2001).

    Returns:
        Tensor of that shape.
    """
    axes = tuple(range(1, len(shape)))
    white = torch.randn(tuple(shape), generator=generator, device=generator.device).to(device or generator.device)
    frequencies = torch.meshgrid(*[torch.fft.fftfreq(s, device=white.device) for s in shape[1:]], indexing="ij")
    radius = torch.stack(frequencies).square().sum(0).sqrt()
    radius[(0,) * radius.dim()] = 1
    exponent = torch.as_tensor(beta, device=white.device).float().view(-1, *[1] * len(axes)) / 2
    spectrum = torch.fft.fftn(white, dim=axes) / radius ** exponent
    spectrum[(slice(None), *[0] * len(axes))] = 0
    texture = torch.fft.ifftn(spectrum, dim=axes).real
    return texture / texture.std(dim=axes, keepdim=True)


def smooth_noise(seeds: Tensor, extent: Sequence[float], size: Sequence[int], grain: float,
                 device: torch.device | None = None) -> Tensor:
    """Smooth random bumps, the same in any batch, on any device and, at equal extent, at any resolution.

    Random numbers on a lattice, joined by cubic B-splines. Mean 0 and standard deviation 1 over many seeds.

    Args:
        seeds: (N,) int64, one per image.
        extent: of the image in mm, one number for each axis; size: in voxels.
        grain: distance of the lattice points in mm, about half the distance from bump to bump.

    Returns:
        (N, \\*size), on the device of the seeds, or on the given one.
    """
    counts = [math.ceil(e / grain) + 4 for e in extent]
    noise = torch.stack([torch.randn(counts, generator=torch.Generator().manual_seed(s)) for s in seeds.tolist()])
    noise = noise.to(device or seeds.device)
    for axis, (e, s, count) in enumerate(zip(extent, size, counts, strict=True), start=1):
        place = (torch.arange(s, device=noise.device) + 0.5) * (e / s / grain) + 1
        far = (place[:, None] - torch.arange(count, device=noise.device)).abs()
        spline = torch.where(far < 1, 2 / 3 - far ** 2 + far ** 3 / 2, (2 - far).clamp_min(0) ** 3 / 6)
        noise = (noise.movedim(axis, -1) @ (spline.T / (151 / 315) ** 0.5)).movedim(-1, axis)
    return noise.contiguous()
