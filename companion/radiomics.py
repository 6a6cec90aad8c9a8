"""Hand-crafted features of a region: what radiomics measured before networks learned from pixels. Book: Part 1.

Three families, with the names and definitions of the Image Biomarker Standardisation Initiative (Zwanenburg et al.,
Radiology 295, 2020, 328-338; reference manual, arXiv 1612.07003); in brackets the manual's family:

* ``first_order``: the values of the region without regard to their places [intensity-based statistics, histogram];
* ``shape``: size and form of the mask without regard to the values [morphology];
* ``texture``: how often two values are neighbours [grey level co-occurrence matrix, GLCM; Haralick et al., IEEE
  Transactions on Systems, Man, and Cybernetics SMC-3, 1973, 610-621].

``features`` gives all three for one image, ``table`` for all of a set. Images are (D, H, W) in any unit, HU for CT; one
slice is a volume with D = 1. Masks are (D, H, W) bool. All numbers are computed on the CPU in double precision.

Before entropy and texture the values are sorted into bins of fixed width [fixed bin size discretisation]: level 1
starts at ``lowest``, or, without it, at the smallest value of the region; then a shift of all values changes no level.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.feature import graycomatrix
from skimage.measure import marching_cubes, mesh_surface_area
from torch import Tensor

from companion.datasets.cases import Cases

BIN_WIDTH = 25.0   # HU, the manual's own choice for CT
MOST_LEVELS = 4096  # of grey, as many as a CT has
IN_SLICE = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
IN_VOLUME = ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (0, 1, -1), (1, 0, 1), (1, 0, -1), (1, 1, 0), (1, -1, 0),
             (1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1))
"""Steps to half of the 26 neighbours; the other half are the same pairs, seen from the other voxel."""


class Table(NamedTuple):
    """Features of N images: ``values`` (N, F) float64 on the CPU, and the name of each column."""

    names: tuple[str, ...]
    values: Tensor


def features(image: Tensor, mask: Tensor | None, spacing: tuple[float, float, float], *,
             bin_width: float = BIN_WIDTH, lowest: float | None = None, dimensions: int = 3) -> dict[str, float]:
    """All three families, by names such as ``shape: sphericity``.

    Args:
        image: (D, H, W) values.
        mask: (D, H, W) bool, True in the region. With None the region is the whole image, and there are no shape
            features, as they would be those of a box.
        spacing: voxel size along D, H, W in mm.
        bin_width, lowest: of the levels, in the unit of the image; see ``levels``.
        dimensions: 3 for pairs of neighbours in all directions, 2 for those within a slice; see ``cooccurrence``.

    Raises:
        ValueError: as in ``first_order``, ``shape`` and ``texture``.
    """
    region = torch.ones_like(image, dtype=torch.bool) if mask is None else mask
    families = {"first order": first_order(image, region, bin_width=bin_width, lowest=lowest),
                "shape": {} if mask is None else shape(mask, spacing),
                "texture": texture(image, region, bin_width=bin_width, lowest=lowest, dimensions=dimensions)}
    return {f"{family}: {name}": value for family, found in families.items() for name, value in found.items()}


def table(cases: Cases, mask: Tensor | None = None, *, bin_width: float = BIN_WIDTH, lowest: float | None = None,
          dimensions: int = 3) -> Table:
    """Features of all images of a set with one channel, (N, 1, D, H, W) with their spacing.

    Args:
        mask: (N, D, H, W) bool, such as ``cases.masks["nodule"]``; None for whole images, see ``features``.

    The other arguments are those of ``features``.

    Raises:
        ValueError: as in ``features``, naming the case; where there is no image, the images are not volumes of one
            channel or have no spacing, or there is not one mask for each.
    """
    if not len(cases) or cases.images.dim() != 5 or cases.images.shape[1] != 1 or cases.spacing is None:
        raise ValueError(f"the images have shape {tuple(cases.images.shape)} and spacing {cases.spacing}, but must be "
                         "(N, 1, D, H, W), N at least 1, with a spacing in mm")
    volumes = cases.images[:, 0]
    if mask is not None and len(mask) != len(volumes):
        raise ValueError(f"there are {len(mask)} masks, but {len(volumes)} images: give one for each")
    rows = []
    for number, image in enumerate(volumes):
        try:
            rows.append(features(image, None if mask is None else mask[number], cases.spacing, bin_width=bin_width,
                                 lowest=lowest, dimensions=dimensions))
        except ValueError as error:
            raise ValueError(f"case {number}: {error}") from error
    return Table(tuple(rows[0]), torch.tensor([list(row.values()) for row in rows], dtype=torch.float64))


def first_order(image: Tensor, mask: Tensor, *, bin_width: float = BIN_WIDTH,
                lowest: float | None = None) -> dict[str, float]:
    """Numbers of the histogram of the region's values.

    Names as in the manual's *intensity-based statistical features*; ``energy`` is the sum of squares, ``kurtosis`` is 0
    for a normal distribution (excess), skewness and kurtosis are 0 where all values are equal, and percentiles are
    interpolated. ``entropy`` (in bits) and ``uniformity`` are those of its *intensity histogram* features.

    Args:
        image, mask: (D, H, W).
        bin_width, lowest: of the histogram; see ``levels``.

    Raises:
        ValueError: where shapes differ, the mask is not bool or empty, a value within it is NaN or infinite, the bin
            width is not positive, or ``lowest`` lies above the smallest value.
    """
    x = _region(image, mask)
    share = np.bincount(levels(image, mask, bin_width=bin_width, lowest=lowest).numpy()[mask.cpu().numpy()]) / len(x)
    share = share[share > 0]
    p10, p25, p75, p90 = np.percentile(x, (10, 25, 75, 90))
    centred, variance = x - x.mean(), x.var()
    flat = variance <= 1e-18 * max(1.0, float(np.square(x).mean()))
    return {"mean": float(x.mean()), "variance": float(variance),
            "skewness": 0.0 if flat else float((centred**3).mean() / variance**1.5),
            "kurtosis": 0.0 if flat else float((centred**4).mean() / variance**2 - 3),
            "median": float(np.median(x)), "minimum": float(x.min()), "10th percentile": float(p10),
            "90th percentile": float(p90), "maximum": float(x.max()), "interquartile range": float(p75 - p25),
            "range": float(np.ptp(x)), "mean absolute deviation": float(np.abs(centred).mean()),
            "energy": float(np.square(x).sum()), "root mean square": float(np.sqrt(np.square(x).mean())),
            "entropy": float(-(share * np.log2(share)).sum()) + 0.0, "uniformity": float((share**2).sum())}


def shape(mask: Tensor, spacing: tuple[float, float, float]) -> dict[str, float]:
    """Size and form of the mask, in mm.

    Names as in the manual's *morphological features*. The mesh runs halfway between voxel centres inside and outside
    (marching cubes), so it cuts off corners: the mesh volume is a little below that of the voxels. Axis lengths are
    four times the standard deviations along the principal axes of the voxel centres (divisor n - 1, as in the manual's
    benchmark); ``elongation`` and ``flatness`` are 1 for a ball and smaller for longer and flatter regions.

    Args:
        mask: (D, H, W) bool, with two voxels or more. Cavities count as surface.
        spacing: voxel size along D, H, W in mm.

    Raises:
        ValueError: where the mask is not (D, H, W) bool or has fewer than two voxels, or a spacing is not positive.
    """
    inside = _mask(mask, at_least=2)
    if len(spacing) != 3 or not all(np.isfinite(step) and step > 0 for step in spacing):
        raise ValueError(f"the spacing is {spacing}, but must be three positive numbers, in mm")
    corners, faces, _, _ = marching_cubes(np.pad(inside, 1).astype(np.float32), 0.5, spacing=tuple(spacing))
    area, volume = float(mesh_surface_area(corners, faces)), _enclosed(corners.astype(np.float64)[faces])
    places = np.argwhere(inside) * np.asarray(spacing, dtype=np.float64)
    major, minor, least = 4 * np.sqrt(np.linalg.eigvalsh(np.cov(places.T)).clip(0)[::-1])
    return {"volume": volume, "volume by voxels": float(inside.sum() * np.prod(spacing)), "surface area": area,
            "surface to volume ratio": area / volume, "compactness 1": volume / (np.sqrt(np.pi) * area**1.5),
            "compactness 2": 36 * np.pi * volume**2 / area**3,
            "sphericity": float((36 * np.pi * volume**2) ** (1 / 3) / area),
            "maximum 3D diameter": float(pdist(corners[ConvexHull(corners).vertices]).max()),
            "major axis length": float(major), "minor axis length": float(minor), "least axis length": float(least),
            "elongation": float(minor / major), "flatness": float(least / major)}


def texture(image: Tensor, mask: Tensor, *, bin_width: float = BIN_WIDTH, lowest: float | None = None,
            dimensions: int = 3) -> dict[str, float]:
    """Features of the co-occurrence matrix of the region: ``levels``, ``cooccurrence``, ``glcm_features`` in a row.

    Raises:
        ValueError: as in these three.
    """
    return glcm_features(cooccurrence(levels(image, mask, bin_width=bin_width, lowest=lowest), dimensions))


def levels(image: Tensor, mask: Tensor, *, bin_width: float = BIN_WIDTH, lowest: float | None = None) -> Tensor:
    """Sort the values within the mask into bins of fixed width [*fixed bin size* discretisation].

    Args:
        image, mask: (D, H, W).
        bin_width: in the unit of the image.
        lowest: where level 1 starts; by default the smallest value within the mask.

    Returns:
        (D, H, W) int64 on the CPU, with the level, from 1, within the mask and 0 outside.

    Raises:
        ValueError: as in ``first_order``.
    """
    x = _region(image, mask)
    if not bin_width > 0:
        raise ValueError(f"the bin width is {bin_width}, but must be positive")
    start = float(x.min()) if lowest is None else lowest
    if x.min() < start:
        raise ValueError(f"the smallest value is {x.min():g}, below lowest = {start:g}: choose it smaller, or clip the "
                         "image")
    sorted_in = torch.zeros(mask.shape, dtype=torch.int64)
    sorted_in[mask.cpu()] = torch.from_numpy(np.floor((x - start) / bin_width).astype(np.int64) + 1)
    return sorted_in


def cooccurrence(levels: Tensor, dimensions: int = 3) -> Tensor:
    """The symmetric grey level co-occurrence matrix at distance 1, of all directions merged into one, not normalised.

    Entry (i - 1, j - 1) counts the ordered pairs of neighbours with levels i and j. Pairs that leave the region do not
    count.

    Args:
        levels: (D, H, W) integers, 0 outside the region.
        dimensions: 2 for the 4 directions within a slice (the manual's *2.5D, merged*), by scikit-image; 3 for the 13
            directions in the volume (its *3D, merged*), which scikit-image does not have.

    Returns:
        (L, L) int64, where L is the highest level.

    Raises:
        ValueError: for other dimensions, levels that are not (D, H, W), negative or above 4096, or where no pair of
            neighbours lies in the region.
    """
    if levels.dim() != 3 or (levels.numel() and levels.min() < 0):
        raise ValueError(f"the levels have shape {tuple(levels.shape)}, but must be (D, H, W), from 0 (outside) up")
    if levels.numel() and levels.max() > MOST_LEVELS:
        raise ValueError(f"there are {int(levels.max())} grey levels, but a matrix of at most {MOST_LEVELS} has pairs "
                         "enough to count: take wider bins")
    counts = {2: _pairs_in_slices, 3: _pairs_in_volume}.get(dimensions)
    if counts is None:
        raise ValueError(f"dimensions is {dimensions}, but must be 2 (pairs within a slice) or 3")
    found = counts(levels.cpu().numpy())[1:, 1:]
    if not found.sum():
        raise ValueError("no two voxels of the region are neighbours, so there is no texture: take a larger region")
    return torch.from_numpy(found + found.T)


def glcm_features(matrix: Tensor) -> dict[str, float]:
    """Features of a symmetric co-occurrence matrix (L, L).

    Names as in the manual's *grey level co-occurrence based features*; levels count from 1, entropy is in bits.
    Homogeneity has two names there: ``inverse difference`` and ``inverse difference moment``. The correlation is 1
    where there is one level only (as in scikit-image).

    Raises:
        ValueError: where the matrix is not square, not symmetric or empty.
    """
    counts = matrix.cpu().double().numpy()
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not np.array_equal(counts, counts.T):
        raise ValueError(f"the matrix has shape {tuple(counts.shape)}, but must be square and symmetric")
    if not counts.sum() > 0:
        raise ValueError("the matrix counts no pair: take a larger region")
    p, number = counts / counts.sum(), np.arange(1.0, len(counts) + 1)
    i, j = number[:, None], number[None]
    mean = float((p * i).sum())
    spread, positive = float((p * (i - mean) ** 2).sum()), p[p > 0]
    cluster = i + j - 2 * mean
    return {"joint maximum": float(p.max()), "joint average": mean, "joint variance": spread,
            "joint entropy": float(-(positive * np.log2(positive)).sum()) + 0.0,
            "angular second moment": float((p**2).sum()), "contrast": float((p * (i - j) ** 2).sum()),
            "dissimilarity": float((p * abs(i - j)).sum()),
            "inverse difference": float((p / (1 + abs(i - j))).sum()),
            "inverse difference moment": float((p / (1 + (i - j) ** 2)).sum()),
            "correlation": 1.0 if spread < 1e-12 else float((p * (i - mean) * (j - mean)).sum() / spread),
            "cluster tendency": float((p * cluster**2).sum()), "cluster shade": float((p * cluster**3).sum()),
            "cluster prominence": float((p * cluster**4).sum())}


def _mask(mask: Tensor, at_least: int) -> np.ndarray:
    if mask.dtype != torch.bool or mask.dim() != 3:
        raise ValueError(f"the mask is {mask.dtype} of shape {tuple(mask.shape)}, but must be torch.bool (D, H, W)")
    if (voxels := int(mask.sum())) < at_least:
        raise ValueError(f"the mask has {voxels} voxels, but needs {at_least} or more: check the segmentation")
    return mask.cpu().numpy()


def _region(image: Tensor, mask: Tensor) -> np.ndarray:
    """The values within the mask, in the order of the voxels."""
    inside = _mask(mask, at_least=1)
    if image.shape != mask.shape:
        raise ValueError(f"the image has shape {tuple(image.shape)}, but the mask {tuple(mask.shape)}: they must agree")
    x = image.detach().cpu().double().numpy()[inside]
    if not np.isfinite(x).all():
        raise ValueError(f"{(~np.isfinite(x)).sum()} values within the mask are NaN or infinite: mend or mask them out")
    return x


def _enclosed(triangles: np.ndarray) -> float:
    """Volume inside a closed mesh (F, 3, 3): signed tetrahedra from the origin to each face add up."""
    a, b, c = triangles.transpose(1, 0, 2)
    return abs(float((a * np.cross(b, c)).sum())) / 6


def _pairs_in_slices(levels: np.ndarray) -> np.ndarray:
    below = np.pad(levels, ((0, 0), (0, 1), (0, 0)))               # a row outside, so that slices do not touch
    plane = below.reshape(-1, levels.shape[2]).astype(np.uint16)
    return graycomatrix(plane, [1], IN_SLICE, levels=int(plane.max(initial=0)) + 1)[:, :, 0].sum(-1).astype(np.int64)


def _pairs_in_volume(levels: np.ndarray) -> np.ndarray:
    size = int(levels.max(initial=0)) + 1
    return sum(np.bincount((here * size + there).ravel(), minlength=size * size).reshape(size, size)
               for here, there in (_neighbours(levels, step) for step in IN_VOLUME))


def _neighbours(levels: np.ndarray, step: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """All voxels that have a neighbour one step away, and these neighbours."""
    here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, levels.shape, strict=True))
    there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, levels.shape, strict=True))
    return levels[here], levels[there]
