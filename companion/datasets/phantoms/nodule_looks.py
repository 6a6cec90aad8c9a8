"""How nodules of each kind look, and what else looks like one: shapes drawn at random for the nodule phantom.

``LOOKS`` holds the numbers, one row per kind. Margins and types of nodules overlap between the kinds on purpose.

Sources: smooth margins in about a fifth of malignant nodules, lobes in about a quarter of benign ones, spicules mostly
malignant, central, laminated and popcorn calcium and fat benign (Erasmus et al., RadioGraphics 20, 2000, 43-58; Snoeckx
et al., Insights into Imaging 9, 2018, 73-86, also for converging vessels and pleural tails); part-solid nodules more
often malignant than ground-glass ones, these more often than solid ones (Henschke et al., AJR 178, 2002, 1053-1057);
metastases round, smooth, several, peripheral and basal (Snoeckx et al.). The numbers themselves are chosen, not fitted.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from companion.datasets.phantoms.finding import Finding
from companion.datasets.phantoms.shapes import uniform

KINDS = ("benign", "malignant", "metastasis", "crossing", "bend", "scar", "plaque", "pleural fat")
"""The first three are nodules, the others look-alikes."""

NODULES = 3
LUNG = -850.0   # HU, against which contrast counts
LOBES, INCLUSIONS, SPICULES = 12, 6, 48


class Look(NamedTuple):
    """One row of the table: chances from 0 to 1, sizes in mm."""

    diameter: float         # median
    spread: float           # standard deviation of its logarithm
    lobed: float            # chance of a lobed margin without spicules
    spiculated: float
    part_solid: float
    glass: float
    calcified: float        # of solid nodules
    fatty: float            # of solid nodules
    converging: float       # vessels that run toward it
    tail: float             # strand to a pleura within 22 mm
    fed: float              # one vessel that ends in it
    elongation: float       # longest radius against the shortest, at most


LOOKS = (Look(7.5, 0.40, 0.25, 0.07, 0.05, 0.10, 0.28, 0.08, 0.08, 0.08, 0.10, 1.5),
         Look(13.5, 0.40, 0.24, 0.56, 0.22, 0.10, 0.04, 0.00, 0.50, 0.45, 0.10, 1.5),
         Look(9.0, 0.35, 0.16, 0.04, 0.01, 0.02, 0.02, 0.00, 0.04, 0.04, 0.40, 1.12),
         *[Look(8.0, 0.3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)] * 2,
         Look(14.0, 0.3, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1), Look(15.0, 0.3, 1, 0, 0, 0, 0.15, 0, 0, 0, 0, 1),
         Look(14.0, 0.3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1))


def diameters(kinds: Tensor, generator: torch.Generator, diameter: float = 1.0) -> Tensor:
    """Diameters (N,) in mm: log-normal around each kind's median, cut off at 4 and 28 mm, times ``diameter``."""
    row = _rows(kinds)
    spread = torch.randn(len(kinds), generator=generator, device=kinds.device) * row.spread
    return (row.diameter * spread.exp()).clamp(4, 28) * diameter


def draw(kinds: Tensor, across: Tensor, outward: Tensor, depth: Tensor, generator: torch.Generator,
         contrast: float = 1.0) -> Finding:
    """The looks of n findings.

    Args:
        kinds: (N,) numbers of ``KINDS``, on the generator's device.
        across: (N,) diameters in mm.
        outward: (N, 3) unit vectors toward the nearest pleura; depth: (N,) distance to it, in mm.
        contrast: difference to the lung's -850 HU against the natural one.
    """
    n, row = len(kinds), _rows(kinds)
    margin, make, extra = (uniform(n, 0, 1, generator) for _ in range(3))
    spiked, lobed = margin < row.spiculated, margin < row.spiculated + row.lobed
    glassy, part = make < row.glass, (make >= row.glass) & (make < row.glass + row.part_solid)
    radii, turn = _body(kinds, across, outward, row.elongation, generator)
    heights = _lumps(n, LOBES, generator) * torch.where(spiked, 0.35, torch.where(lobed, 0.6, 0.06))[:, None]
    core = torch.where(part, uniform(n, 0.3, 0.7, generator), (~glassy).float())
    inclusions, values = _inclusions(kinds, (core == 1) & (extra < row.calcified),
                                     (core == 1) & (extra > 1 - row.fatty), generator)
    sprout = spiked * torch.where(core > 0, 0.6 * core, 0.9)
    curves, thick = _strands(kinds, radii, turn, sprout, outward, depth, row, generator)
    return Finding(radii=radii, turn=turn, lobes=_directions(n, LOBES, generator), heights=heights, core=core,
                   solid=_faded(_solid(kinds, generator), contrast), edge=uniform(n, 1.0, 3.5, generator),
                   glass=_faded(uniform(n, -680, -480, generator), contrast), inclusions=inclusions,
                   inclusion_values=_faded(values, contrast), strands=curves, strand_radii=thick)


def _rows(kinds: Tensor) -> Look:
    """The table's columns, looked up for each finding: a ``Look`` of tensors (N,)."""
    return Look(*torch.tensor(LOOKS, device=kinds.device)[kinds].unbind(1))


def _faded(value: Tensor, contrast: float) -> Tensor:
    return LUNG + contrast * (value - LUNG)


def _directions(n: int, m: int, generator: torch.Generator) -> Tensor:
    """Unit vectors in all directions (n, m, 3)."""
    return normalize(torch.randn(n, m, 3, generator=generator, device=generator.device), dim=-1)


def _lumps(n: int, m: int, generator: torch.Generator) -> Tensor:
    """Heights of lobes (n, m): bulges up to 1, notches down to -0.6."""
    return uniform(n * m, -0.6, 1.0, generator).view(n, m)


def _body(kinds: Tensor, across: Tensor, outward: Tensor, elongation: Tensor,
          generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Radii (N, 3) and axes (N, 3, 3): round for nodules, flat for scars, flat on the pleura for plaques."""
    n = len(kinds)
    stretch = uniform(3 * n, 0, 1, generator).view(n, 3) * elongation[:, None].log()
    round_ = across[:, None] / 2 * (stretch - stretch.mean(1, keepdim=True)).exp()
    flat = torch.stack([uniform(n, 0.9, 1.9, generator), across * uniform(n, 0.2, 0.35, generator), across / 2], 1)
    plate = torch.stack([uniform(n, 2.0, 4.5, generator), across * uniform(n, 0.35, 0.5, generator), across / 2], 1)
    kind = kinds[:, None]
    radii = torch.where(kind < NODULES, round_, torch.where(kind == 5, flat, torch.where(kind > 5, plate, 0.0)))
    first, second = _directions(n, 2, generator).unbind(1)
    first = torch.where(kind > 5, outward, first)
    second = normalize(torch.linalg.cross(first, second), dim=-1)
    return radii, torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def _solid(kinds: Tensor, generator: torch.Generator) -> Tensor:
    """CT value of the solid part (N,) in HU."""
    n = len(kinds)
    soft, plaque, fat = uniform(n, 10, 60, generator), uniform(n, 40, 90, generator), uniform(n, -115, -80, generator)
    return torch.where(kinds == 6, plaque, torch.where(kinds == 7, fat, soft))


def _inclusions(kinds: Tensor, calcified: Tensor, fatty: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Calcium (central, laminated, popcorn or diffuse if benign; a fleck off the middle otherwise) or fat.

    Returns:
        (N, I, 4) places and radii, (N, I) values in HU.
    """
    n, device = len(kinds), kinds.device
    blob = torch.cat([_directions(n, INCLUSIONS, generator) * 0.5, uniform(n * INCLUSIONS, 0.18, 0.34, generator).view(
        n, INCLUSIONS, 1)], -1)                                                    # popcorn, or fat
    shells = torch.zeros(4, INCLUSIONS, 4, device=device)                           # central, laminated, diffuse, fleck
    shells[0, 0, 3], shells[2, 0, 3], shells[3, 0] = 0.45, 0.88, torch.tensor([0.3, 0.4, -0.2, 0.2])
    shells[1, :4, 3] = torch.tensor([0.95, 0.75, 0.5, 0.25])
    pattern = torch.where(kinds == 0, (uniform(n, 0, 4, generator)).long(), 4)      # 0-2 shells, 3 popcorn, 4 fleck
    places = torch.where((pattern == 3)[:, None, None] | fatty[:, None, None], blob,
                         shells[pattern.clamp(max=3)])
    calcium = uniform(n, 250, 700, generator)[:, None].expand(n, INCLUSIONS).clone()
    calcium[pattern == 1, 1:4:2] = 60.0                                             # soft tissue between the shells
    values = torch.where(fatty[:, None], uniform(n, -100, -60, generator)[:, None], calcium)
    return places * (calcified | fatty)[:, None, None], values


def _strands(kinds: Tensor, radii: Tensor, turn: Tensor, sprout: Tensor, outward: Tensor, depth: Tensor, row: Look,
             generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Spicules, tail to the pleura, vessels: curves (N, S, 3, 3) and radii (N, S, 2), in mm."""
    n = len(kinds)
    spicules, thick = _spicules(radii, turn, sprout, generator)
    tail = _line(-0.3 * outward, outward * (depth + 1)[:, None], 2.0, generator)[:, None]
    tailed = (uniform(n, 0, 1, generator) < row.tail) & (depth < 22)
    tail_radius = torch.stack([uniform(n, 0.8, 1.4, generator), torch.full_like(depth, 0.5)], 1) * tailed[:, None]
    vessels, width = _vessels(kinds, row, generator)
    return torch.cat([spicules, tail, vessels], 1), torch.cat([thick, tail_radius[:, None], width], 1)


def _line(start: Tensor, end: Tensor, bow: float, generator: torch.Generator) -> Tensor:
    """A curve (..., 3, 3) from start to end, bent by up to ``bow`` mm."""
    bend = bow * torch.randn(start.shape, generator=generator, device=start.device)
    return torch.stack([start, (start + end) / 2 + bend, end], -2)


def _spicules(radii: Tensor, turn: Tensor, sprout: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """18 to 48 thin tapered lines that radiate from ``sprout`` (N,), a share of the body's radius, 0 for none."""
    n = len(radii)
    away = _directions(n, SPICULES, generator)
    surface = 1 / ((away @ turn) / radii.clamp_min(1e-3)[:, None]).norm(dim=-1)     # (N, SPICULES)
    length = surface * uniform(n * SPICULES, 0.35, 0.9, generator).view(n, SPICULES) + 2
    curves = _line(away * (surface * sprout[:, None])[..., None], away * (surface + length)[..., None], 0.6, generator)
    base = uniform(n * SPICULES, 0.7, 1.3, generator).view(n, SPICULES)
    numbers = torch.arange(SPICULES, device=radii.device)
    present = (sprout > 0)[:, None] & (numbers < uniform(n, 18, 49, generator)[:, None])
    return curves, torch.stack([base, torch.full_like(base, 0.25)], -1) * present[..., None]


def _vessels(kinds: Tensor, row: Look, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Seven vessels (N, 7, 3, 3): four that converge, one that feeds, two that cross or one that bends."""
    n = len(kinds)
    away = _directions(n, 7, generator)
    far = away * uniform(n * 7, 22, 34, generator).view(n, 7, 1)
    ends = torch.zeros_like(far)
    ends[:, 5:] = -far[:, 5:]                                                       # through the middle and beyond
    curves = _line(far, ends, 3.0, generator)
    curves[:, 5:, 1] = 1.5 * torch.randn(n, 2, 3, generator=generator, device=kinds.device)
    bend = kinds == 4
    curves[bend, 5, 1], curves[bend, 5, 2] = -0.28 * (far[bend, 5] + far[bend, 6]), far[bend, 6]
    chance = uniform(n, 0, 1, generator)[:, None]
    numbers, count = torch.arange(7, device=kinds.device), uniform(n, 2, 5, generator)[:, None]
    present = (numbers < 4) & (numbers < count) & (chance < row.converging[:, None])
    present = present | ((numbers == 4) & (chance > 1 - row.fed[:, None]))
    present = present | ((numbers == 5) & ((kinds == 3) | bend)[:, None]) | ((numbers == 6) & (kinds == 3)[:, None])
    radius = torch.where(numbers < 5, uniform(n * 7, 0.7, 1.4, generator).view(n, 7),
                         uniform(n * 7, 1.5, 2.8, generator).view(n, 7)) * present
    return curves, torch.stack([radius * 0.9, radius], -1)
