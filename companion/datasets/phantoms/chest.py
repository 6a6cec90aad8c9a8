"""Chest radiographs, normal or with tuberculosis, from two hospitals. Book: Part 5.

A posteroanterior film in full inspiration: the patient's left is at image right, dense parts are bright.

What is modelled
    Beer and Lambert's law along parallel rays of one energy through a thorax of lungs, heart with its apex to the left,
    aortic arch, great vessels, hila, vessels that branch and taper, trachea and main bronchi, diaphragm (the right dome
    higher), stomach gas, 12 pairs of hollow ribs, clavicles, scapulae, humeri, spine, shoulders, neck, breasts, fat of
    different thickness, calcified spots. Tuberculosis as patchy consolidation in the upper zones toward the back,
    cavities with a wall in it, miliary nodules, pleural effusion with a meniscus, enlarged lymph nodes, alone or
    together. Photon noise, lead marker, processing for display. Hospital A (few patients ill, mild; modern plate, soft
    processing, marker L, no shutters) and hospital B (many ill, more severe, more cavities and effusions; few photons,
    hard edge-enhanced processing, marker R, black shutters).

What is not
    A fan of rays with its magnification, scattered X-rays and their grid, a spectrum, the blur of the detector; lobes
    and fissures, collapse and shift of the mediastinum, fibrosis, old pleural thickening, consolidation of the lower
    zones alone, pneumonia, tumours and all else that looks like tuberculosis; turned or badly inspired patients, lines
    and tubes. Path lengths of bodies that overlap along the ray are joined by a soft maximum. Every patient has one of
    16 skeletons and one of 32 vessel trees in each lung, stretched to size.

Numbers and sources
    Attenuation at 60 keV, in 1/mm: muscle 0.0215, fat 0.0188, blood 0.0218, compact bone 0.0604, lead 5.7 (Hubbell and
    Seltzer, NIST Standard Reference Database 126, with the densities of ICRU Report 44); inflated lung 0.0042 to
    0.0056, as a quarter of that of soft tissue. Chances of the signs after Woodring et al., AJR 146, 1986, 497-506:
    in post-primary disease upper-lobe densities nearly always, cavities 45 %, effusion 18 %, lymph nodes 5 %;
    in primary disease consolidation 50 %, effusion 24 %. The film
    is 370 mm wide. Sizes of the parts are rounded from anatomy atlases.

Limits
    Photons are counted per pixel, 60 000 and 16 000 in free air, whatever the size of the image: fewer than on a real
    plate, whose noise would vanish at this size. Shares of the patterns, severity and processing are chosen by us. It
    is not clinical evidence: an AUC reached here says nothing about an AUC on patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.cases import Cases
from companion.datasets.phantoms import chest_film, chest_signs, thorax
from companion.datasets.phantoms.chest_film import HOSPITALS, Film
from companion.datasets.phantoms.chest_signs import LEAST, SIGNS, Signs
from companion.datasets.phantoms.shapes import uniform

CLASSES = ("normal", "tuberculosis")
CHUNK_PIXELS = 450_000   # rendered at once, about 100 MB with all layers


@dataclass(frozen=True)
class Radiographs:
    """N films of N patients.

    Args:
        anatomy, signs, film: of each.
        labels: (N,) numbers of ``CLASSES``.
        hospitals: (N,) 0 for A, 1 for B.
    """

    anatomy: thorax.Anatomy
    signs: Signs
    film: Film
    labels: Tensor
    hospitals: Tensor

    def of(self, cases: Tensor) -> "Radiographs":
        """The films with these numbers (M,), in that order."""
        values = (getattr(self, f.name) for f in fields(self))
        return Radiographs(*(v[cases] if isinstance(v, Tensor) else v.of(cases) for v in values))

    def to(self, device: torch.device) -> "Radiographs":
        """The same films on another device."""
        return Radiographs(*(getattr(self, f.name).to(device) for f in fields(self)))


def draw(n: int, generator: torch.Generator, *, hospital: str = "A", prevalence: float | None = 0.5,
         contrast: float = 1.0, dose: float = 1.0, extent: float = 1.0) -> Radiographs:
    """Films of n patients.

    Args:
        hospital: ``A``, ``B``, or ``both`` for half of the films from each.
        prevalence: share of patients with tuberculosis in each hospital (to one case); None for the hospital's own, 0.3
            in A and 0.7 in B.
        contrast: attenuation of the signs against the natural one; larger is easier.
        dose: photons against the hospital's usual number; larger is easier.
        extent: size of the signs against the natural one; larger is easier.

    Raises:
        ValueError: where n, contrast, dose or extent is not positive, prevalence is not a share, or there is no such
            hospital.
    """
    _check(hospital, prevalence, {"number of cases": n, "contrast": contrast, "dose": dose, "extent": extent})
    device, names = generator.device, list(HOSPITALS)
    hospitals = torch.randperm(n, generator=generator, device=device) % 2
    if hospital != "both":
        hospitals = torch.full_like(hospitals, names.index(hospital))
    labels = _labels(hospitals, prevalence, generator)
    low, high = chest_film.per_film("severity", hospitals).unbind(1)
    severity = low + (high - low) * uniform(n, 0, 1, generator)
    pattern = torch.multinomial(chest_film.per_film("patterns", hospitals), 1, generator=generator)[:, 0]
    chances = torch.tensor(list(chest_signs.PATTERNS.values()), device=device)[pattern] * labels[:, None]
    return Radiographs(thorax.draw(n, generator), chest_signs.draw(chances, severity, generator, contrast, extent),
                       chest_film.draw(hospitals, dose, generator), labels, hospitals)


def render(radiographs: Radiographs, size: int | Sequence[int] = 96, *, lesions: bool = True,
           device: torch.device | None = None) -> Cases:
    """The films: images (N, 1, size, size) in display brightness from 0 to 1; a mask for each sign, and ``lesion``.

    The masks lie where the ray crosses some millimetres of diseased tissue (a cavity with its hole). Each sign has a
    box in each half of the image that shows it, whose label is its number in ``SIGNS``; all miliary nodules of a lung
    share one.

    Args:
        size: pixels on each side, 16 or more, or a pair of equal numbers; a pixel is 370 mm / size.
        lesions: False leaves the signs out and keeps all else, noise included.
        device: to render on; by default where the parameters are.
    """
    size = _side(size)
    device = device or radiographs.labels.device
    images, masks = [], []
    for part in _chunks(radiographs, size, device):
        integral, shown = _projected(part, size, lesions)
        images.append(chest_film.develop(chest_film.expose(integral, part.film), part.film))
        masks.append(shown)
    mask = torch.cat(masks)
    boxes, box_labels = _boxes(mask)
    named = {sign: mask[:, k] for k, sign in enumerate(SIGNS)}
    return Cases(images=torch.cat(images)[:, None], labels=radiographs.labels.to(device), classes=CLASSES,
                 patients=torch.arange(len(mask), device=device), spacing=(thorax.FIELD / size,) * 2,
                 masks={"lesion": mask.any(1), **named}, boxes=boxes, box_labels=box_labels, parameters=radiographs)


def make(n: int, generator: torch.Generator, size: int | Sequence[int] = 96, **knobs) -> Cases:
    """n films: ``draw`` (which takes the knobs), then ``render``."""
    return render(draw(n, generator, **knobs), size)


def line_integrals(radiographs: Radiographs, size: int | Sequence[int] = 96, *, lesions: bool = True) -> Tensor:
    """What the rays meet, before noise, marker and processing: (N, 1, size, size), no unit.

    The share exp(-p) of the photons arrives where the line integral is p.
    """
    size = _side(size)
    parts = [_projected(part, size, lesions)[0] for part in _chunks(radiographs, size, radiographs.labels.device)]
    return torch.cat(parts)[:, None]


def exposures(radiographs: Radiographs, size: int | Sequence[int] = 96, *, lesions: bool = True) -> Tensor:
    """The line integrals as measured, with photon noise and the marker: (N, 1, size, size), no unit."""
    return chest_film.expose(line_integrals(radiographs, size, lesions=lesions)[:, 0], radiographs.film)[:, None]


def _chunks(radiographs: Radiographs, size: int, device: torch.device) -> list[Radiographs]:
    numbers = torch.arange(len(radiographs.labels), device=radiographs.labels.device)
    return [radiographs.of(index).to(device) for index in numbers.split(max(1, CHUNK_PIXELS // size ** 2))]


def _projected(part: Radiographs, size: int, lesions: bool) -> tuple[Tensor, Tensor]:
    """Line integrals (N, size, size) and masks of the signs (N, 5, size, size)."""
    scene = thorax.render(part.anatomy, size)
    if not lesions:
        return scene.integral, torch.zeros(len(part.labels), len(SIGNS), size, size, dtype=torch.bool,
                                           device=scene.lung.device)
    paths, added = chest_signs.layers(part.signs, part.anatomy, scene.lung, *thorax.positions(part.anatomy, size))
    least = paths.new_tensor([LEAST[sign] for sign in SIGNS])
    return scene.integral + added, paths > least[:, None, None]


def _labels(hospitals: Tensor, prevalence: float | None, generator: torch.Generator) -> Tensor:
    """Labels (N,) with the wanted share of 1 in each hospital."""
    labels = torch.zeros_like(hospitals)
    for number, hospital in enumerate(HOSPITALS.values()):
        here = (hospitals == number).nonzero()[:, 0]
        ill = round((hospital.prevalence if prevalence is None else prevalence) * len(here))
        labels[here] = (torch.randperm(len(here), generator=generator, device=here.device) < ill).long()
    return labels


def _boxes(masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Boxes (n, 4) and their signs (n,) of each case, from masks (N, 5, H, W): one for each sign in each half."""
    case, sign = masks.flatten(2).any(2).nonzero(as_tuple=True)
    shown, half = masks[case, sign], masks.shape[-1] // 2
    corners, there = [], []
    for start, part in ((0, shown[..., :half]), (half, shown[..., half:])):
        (x0, x1), (y0, y1) = _ends(part.any(1)), _ends(part.any(2))
        corners.append(torch.stack([x0 + start, y0, x1 + start, y1], -1))
        there.append(part.flatten(1).any(1))
    corners, there = torch.stack(corners, 1).float(), torch.stack(there, 1)         # (M, 2, 4), (M, 2)
    counts = torch.zeros(len(masks), dtype=torch.long, device=masks.device).index_add_(0, case, there.sum(1)).tolist()
    return list(corners[there].split(counts)), list(sign[:, None].expand(-1, 2)[there].split(counts))


def _ends(line: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last True of each row (M, K)."""
    return line.int().argmax(1), line.shape[1] - line.flip(1).int().argmax(1)


def _check(hospital: str, prevalence: float | None, positive: dict[str, float]) -> None:
    for name, value in positive.items():
        if value <= 0:
            raise ValueError(f"the {name} is {value}, but must be positive")
    if hospital not in (*HOSPITALS, "both"):
        raise ValueError(f"there is no hospital {hospital!r}: choose A, B or both")
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise ValueError(f"the prevalence is {prevalence}, but must be a share from 0 to 1, or None for the hospital's")


def _side(size: int | Sequence[int]) -> int:
    rows, columns = (size, size) if isinstance(size, int) else size
    if rows != columns or rows < 16:
        raise ValueError(f"the size is {rows} x {columns} pixels, but a film is square, with 16 or more on a side")
    return rows
