"""Mammograms, mediolateral oblique view: masses, calcifications, and what is mistaken for them. Book: Part 5.

``make`` gives whole mammograms, ``candidates`` patches around what a detector would propose as a mass, for
computer-aided detection (CADe) with false positives per image.

What is modelled
    The breast of ``breast``. Masses: benign ones mostly round or oval with a sharp margin, of lower density; malignant
    ones irregular, with spicules or a soft margin, denser, some with calcium. Calcifications: benign ones round and
    scattered, malignant ones of many shapes (pleomorphic) or along a branching duct. What can be taken for a lesion:
    summation of tissue, lymph nodes with a fatty hilum, calcium of the skin and of vessels. A mass takes the place of
    the tissue around it, so dense gland hides it, as in patients.

What is not
    Retraction of skin and nipple, distortion of the tissue around a cancer, asymmetry between the sides, earlier
    examinations, the second view. The candidates are drawn, not found by a detector. All chances are ours: a third of
    the mammograms shows a cancer, screening finds about 6 in 1000 women.

Numbers and sources
    Anatomy and physics in ``breast``, looks in ``mammogram_lesions``, attenuation of calcium in ``mammogram_paint``.
    Attenuation of cancer: 0.082 to 0.086 per mm at 20 keV, a little above gland (Johns and Yaffe, Physics in Medicine
    and Biology 32, 1987, 675-695). Task and patches of 5 cm: Kooi et al., Medical Image Analysis 35, 2017, 303-312.

Limits
    At the default sizes a pixel is larger than most calcifications, which then show as faint dots: take 512 x 341 or
    more to see their shapes. It is not clinical evidence: an AUC or a FROC curve reached here says nothing about
    patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from companion.datasets.cases import Cases
from companion.datasets.phantoms import breast, mammogram_lesions, mammogram_places
from companion.datasets.phantoms.breast_geometry import HEIGHT
from companion.datasets.phantoms.mammogram_lesions import LESIONS, Lesion, bodies
from companion.datasets.phantoms.mammogram_paint import Painted, paint
from companion.datasets.phantoms.shapes import uniform

CLASSES = ("normal", "benign", "malignant")
"""Of whole mammograms."""

CALCIFIED = 0.4         # share of the lesions that are calcifications
MASKS = ("breast", "muscle", "mass", "calcifications")
OTHERS = (0.50, 0.25, 0.10, 0.15)       # chance of summation, lymph node, calcium of skin and of vessels
FALSE = (0.12, 0, 0, 0, 0.32, 0.08, 0.02, 0.06, 0.40)   # chance of each of KINDS among the false candidates
CHUNK_PIXELS = 250_000  # rendered at once, so that a layer stays in the processor's cache
WIDTH = 128.0           # mm, of the mammograms from which candidates are cut


@dataclass(frozen=True)
class Findings:
    """F findings in I mammograms of P patients.

    Args:
        anatomy: of the I breasts.
        patients: (I,) number of each mammogram's patient.
        labels: (I,) class numbers; see ``CLASSES``.
        images: (F,) number of each finding's mammogram, ascending.
        lesion: the shapes and kinds.
        positions: (F, 2) from the upper corner at the chest wall, as (y, x) in mm, x toward the nipple.
        candidate: (F,) bool, whether a detector proposes it; offsets: (F, 2) from it to the middle of its patch, in mm.
        masses_per_image: (I,) malignant masses in each mammogram, those that no candidate marks included.
        contrast, dose: as in ``draw``.
    """

    anatomy: breast.Anatomy
    patients: Tensor
    labels: Tensor
    images: Tensor
    lesion: Lesion
    positions: Tensor
    candidate: Tensor
    offsets: Tensor
    masses_per_image: Tensor
    contrast: float
    dose: float

    def of(self, images: Tensor) -> "Findings":
        """The mammograms with these numbers (M,), in that order, with their findings."""
        number, mine = (images[:, None] == self.images).nonzero(as_tuple=True)       # new number, ascending
        kept = {name: getattr(self, name)[images] for name in ("patients", "labels", "masses_per_image")}
        kept |= {name: getattr(self, name)[mine] for name in ("positions", "candidate", "offsets")}
        return replace(self, anatomy=self.anatomy.of(images), images=number, lesion=self.lesion.of(mine), **kept)

    def to(self, device: torch.device) -> "Findings":
        """The same findings on another device."""
        return replace(self, **{k: v.to(device) for k, v in vars(self).items() if not isinstance(v, float)})


class Candidates(Findings):
    """Findings whose cases are not the I mammograms, but the findings that a detector proposes."""

    def of(self, index: Tensor) -> "Candidates":
        """The candidates with these numbers (M,), in that order, without other findings; all mammograms are kept."""
        mine = self.candidate.nonzero()[:, 0][index]
        each = {name: getattr(self, name)[mine] for name in ("images", "positions", "candidate", "offsets")}
        return replace(self, lesion=self.lesion.of(mine), **each)


def draw(n: int, generator: torch.Generator, *, density: int | None = None, contrast: float = 1.0, dose: float = 1.0,
         diameter: float = 1.0) -> Findings:
    """n mammograms, normal, with a benign, or with a malignant lesion, in equal shares (to one case).

    Two follow each other as left and right breast of one patient. A lesion is a mass or a cluster of calcifications.
    Each breast, of whatever class, also has one or two findings that may be taken for a lesion.

    Args:
        density: category of all breasts, 0 to 3 for a to d; by default drawn as in a screened population.
        contrast: of the lesions against the natural one; larger is easier.
        dose: against the usual one; the photon noise falls with its square root; larger is easier.
        diameter: of the lesions against the natural one; larger is easier.

    Raises:
        ValueError: where n, contrast, dose or diameter is not positive, or the density is not 0 to 3.
    """
    _check(n, contrast=contrast, dose=dose, diameter=diameter)
    labels = torch.randperm(n, generator=generator, device=generator.device) % len(CLASSES)
    calcified = (uniform(n, 0, 1, generator) < CALCIFIED).long()
    lesions = torch.where(labels > 0, labels - 1 + 2 * calcified, -1)                # number of KINDS
    others = LESIONS + _pick(n, 2, OTHERS, generator)
    others[:, 1] = torch.where(uniform(n, 0, 1, generator) < 0.5, others[:, 1], -1)
    kinds = torch.cat([lesions[:, None], others], 1)
    return _placed(breast.draw(n, generator, density), labels, kinds, generator, contrast, dose, diameter, 1.0)


def draw_candidates(n: int, generator: torch.Generator, *, masses: float = 0.8, false: int = 10, found: float = 0.95,
                    density: int | None = None, contrast: float = 1.0, dose: float = 1.0,
                    diameter: float = 1.0) -> Findings:
    """The candidates of n mammograms: the malignant masses that a detector found, and its false candidates.

    Args:
        masses: mean number of malignant masses in a mammogram (Poisson, at most 2), far above that in screening.
        false: other candidates of each mammogram: summation, plain dense tissue, lymph nodes, benign masses, calcium.
        found: share of the malignant masses that are among the candidates.

    The other arguments are those of ``draw``.
    """
    _check(n, contrast=contrast, dose=dose, diameter=diameter, masses=masses, false=false, found=found)
    device = generator.device
    true = torch.poisson(torch.full((n,), float(masses), device=device), generator=generator).long().clamp(max=2)
    others = _pick(n, false, FALSE, generator)
    kinds = torch.cat([torch.where(torch.arange(2, device=device) < true[:, None], 1, -1), others], 1)
    labels = torch.where(true > 0, 2, (kinds == 0).any(1).long())
    return _placed(breast.draw(n, generator, density), labels, kinds, generator, contrast, dose, diameter, found)


def _pick(n: int, count: int, chances: Sequence[float], generator: torch.Generator) -> Tensor:
    """Numbers (n, count) from 0, drawn with the given chances."""
    rows = torch.tensor(chances, device=generator.device).expand(n, -1)
    return torch.multinomial(rows, count, replacement=True, generator=generator)


def _check(n: int, **knobs: float) -> None:
    for name, value in {"number of cases": n, **knobs}.items():
        if value <= 0:
            raise ValueError(f"the {name} is {value}, but must be positive")


def _placed(anatomy: breast.Anatomy, labels: Tensor, kinds: Tensor, generator: torch.Generator, contrast: float,
            dose: float, diameter: float, found: float) -> Findings:
    """Findings of the given kinds (I, S), -1 for none: looks and places."""
    images, slot = (kinds >= 0).nonzero(as_tuple=True)
    flat = kinds[images, slot]
    f, masses = len(flat), flat == 1
    lesion = mammogram_lesions.draw(flat, generator, diameter)
    positions = mammogram_places.draw(anatomy.shape, images, flat, generator)
    return Findings(anatomy=anatomy, patients=torch.arange(len(labels), device=labels.device) // 2, labels=labels,
                    images=images, lesion=lesion, positions=positions,
                    candidate=~masses | (uniform(f, 0, 1, generator) < found),
                    offsets=uniform(2 * f, -4, 4, generator).view(f, 2),
                    masses_per_image=torch.bincount(images[masses], minlength=len(labels)),
                    contrast=contrast, dose=dose)


def render(findings: Findings, size: Sequence[int] = (192, 128), *, lesions: bool = True,
           device: torch.device | None = None) -> Cases:
    """Whole mammograms: images (N, 1, H, W) from 0 (black) to 1 (white), masks, and a box around each lesion.

    The image is 240 mm high. The left breast points to the right, the right one to the left.
    Masks: ``breast``, ``muscle``, ``mass`` (benign and malignant) and ``calcifications`` (those of lesions). Boxes are
    labelled as the classes are: 1 benign, 2 malignant.

    Args:
        size: in pixels; the width decides how many mm are seen, at least 0.6 of the height shows every breast whole.
        lesions: False leaves all findings out and keeps all else, noise included.
        device: to render on; by default where the parameters are.
    """
    device = device or findings.labels.device
    parts = [_show(part.to(device), size, lesions) for part in _chunks(findings, size)]
    image, *masks = (torch.cat(layer) for layer in zip(*(p[:5] for p in parts), strict=True))
    boxes = torch.cat([p[5] for p in parts])
    real = findings.lesion.kinds.to(device) < LESIONS
    real &= (boxes[:, 2] > boxes[:, 0]) if lesions else False
    mine = [(findings.images.to(device) == i) & real for i in range(len(image))]
    return Cases(images=image[:, None], labels=findings.labels.to(device), classes=CLASSES, unit="brightness",
                 patients=findings.patients.to(device), spacing=(HEIGHT / size[0],) * 2, parameters=findings,
                 masks=dict(zip(MASKS, masks, strict=True)), boxes=[boxes[m] for m in mine],
                 box_labels=[findings.lesion.kinds.to(device)[m] % 2 + 1 for m in mine])


def render_candidates(findings: Findings, size: Sequence[int] = (64, 64), spacing: float = 0.8, *,
                      lesions: bool = True, device: torch.device | None = None) -> Cases:
    """The patches around the candidates, cut from their mammograms: images (C, 1, \\*size), mask ``mass`` and box.

    The label is 1 for a malignant mass, 0 for all else, whose mask is empty. What lies off the detector is black.

    Args:
        size: in pixels; spacing: of these in mm, rounded so that a whole number of them makes 240 mm.
    """
    device = device or findings.labels.device
    rows = round(HEIGHT / spacing)
    whole = (rows, round(WIDTH / HEIGHT * rows))
    parts = [_cut(part.to(device), whole, size, lesions) for part in _chunks(findings, whole)]
    images, masks = (torch.cat(layer) for layer in zip(*parts, strict=True))
    chosen = findings.candidate.nonzero()[:, 0]
    labels = (findings.lesion.kinds[chosen] == 1).long().to(device)
    boxes = [_box(m) for m in masks]
    return Cases(images=images[:, None], labels=labels, classes=("false candidate", "malignant mass"),
                 unit="brightness", patients=findings.patients[findings.images[chosen]].to(device),
                 spacing=(HEIGHT / rows,) * 2, masks={"mass": masks}, boxes=boxes,
                 parameters=Candidates(**vars(findings)),
                 box_labels=[label.expand(len(box)) for label, box in zip(labels, boxes, strict=True)])


def make(n: int, generator: torch.Generator, size: Sequence[int] = (192, 128), **knobs) -> Cases:
    """n whole mammograms: ``draw`` (which takes the knobs), then ``render``."""
    return render(draw(n, generator, **knobs), size)


def candidates(n: int, generator: torch.Generator, size: Sequence[int] = (64, 64), spacing: float = 0.8,
               **knobs) -> Cases:
    """The candidates of n mammograms: ``draw_candidates`` (which takes the knobs), then ``render_candidates``.

    For FROC, ``parameters`` has ``masses_per_image``; its ``images`` and ``positions``, taken where ``candidate`` is
    true, belong to the cases in their order. ``Cases.select`` keeps the numbers of all mammograms, and drops the
    findings that no detector proposes.
    """
    return render_candidates(draw_candidates(n, generator, **knobs), size, spacing)


def _chunks(findings: Findings, size: Sequence[int]) -> list[Findings]:
    """The mammograms a few at a time."""
    count = max(1, CHUNK_PIXELS // (size[0] * size[1]))
    return [Findings.of(findings, index)
            for index in torch.arange(len(findings.labels), device=findings.labels.device).split(count)]


def _shine(findings: Findings, size: Sequence[int], lesions: bool) -> tuple[Tensor, breast.Scene, Painted]:
    """Brightness (I, H, W) of left breasts, the tissue, and the findings."""
    anatomy = findings.anatomy
    scene = breast.render(anatomy, size)
    integral = scene.line_integral()
    painted = paint(findings.lesion, findings.images, findings.positions, scene)
    if lesions:
        integral = integral + findings.contrast * painted.added
    integral = integral + breast.noise(anatomy, scene.line_integral(), findings.dose)
    return breast.brightness(integral, scene, anatomy.shape.thickness.view(-1, 1, 1)), scene, painted


def _show(findings: Findings, size: Sequence[int], lesions: bool) -> tuple[Tensor, ...]:
    """Brightness, the four masks (I, H, W) and the boxes (F, 4), with right breasts turned round."""
    image, scene, painted = _shine(findings, size, lesions)
    shown = [painted.masses, painted.calcifications]
    layers = [image, scene.depth > 0, (scene.depth > 0) & (scene.muscle_depth > 0),
              *(shown if lesions else map(torch.zeros_like, shown))]
    left = findings.anatomy.left
    layers = [torch.where(left.view(-1, 1, 1), layer, layer.flip(2)) for layer in layers]
    x0, y0, x1, y1 = painted.boxes.unbind(1)
    turned = torch.stack([size[1] - x1, y0, size[1] - x0, y1], 1) * (x1 > x0)[:, None]
    return *layers, torch.where(left[findings.images, None], painted.boxes, turned)


def _cut(findings: Findings, whole: Sequence[int], size: Sequence[int], lesions: bool) -> tuple[Tensor, Tensor]:
    """Patches and the masks of their own masses, each (C, \\*size)."""
    image, scene, _ = _shine(findings, whole, lesions)
    step, chosen = HEIGHT / whole[0], findings.candidate.nonzero()[:, 0]
    places, number = findings.positions[chosen], findings.images[chosen]
    corner = ((places + findings.offsets[chosen]) / step).round().long() - torch.tensor(size, device=places.device) // 2
    row, column = (c[:, None] + torch.arange(s, device=c.device) for c, s in zip(corner.T, size, strict=True))
    inside = ((row >= 0) & (row < whole[0]))[:, :, None] & ((column >= 0) & (column < whole[1]))[:, None]
    index = number[:, None, None], row.clamp(0, whole[0] - 1)[:, :, None], column.clamp(0, whole[1] - 1)[:, None]
    patches = image[index] * inside
    masks = torch.zeros_like(patches, dtype=torch.bool)
    true = ((findings.lesion.kinds[chosen] == 1) & lesions).nonzero()[:, 0]
    away = ((row + 0.5) * step - places[:, :1])[true], ((column + 0.5) * step - places[:, 1:])[true]
    body = scene.depth[tuple(i[true] for i in index)] > 0
    masks[true] = bodies(findings.lesion.of(chosen[true]), *away)[1] & inside[true] & body
    left = findings.anatomy.left[number].view(-1, 1, 1)
    return torch.where(left, patches, patches.flip(2)), torch.where(left, masks, masks.flip(2))


def _box(mask: Tensor) -> Tensor:
    """The box (1, 4) around a mask (H, W) as (x0, y0, x1, y1), or (0, 4) where it is empty."""
    inside = mask.nonzero()
    if not len(inside):
        return torch.zeros(0, 4, device=mask.device)
    return torch.cat([inside.amin(0).flip(0), inside.amax(0).flip(0) + 1]).float()[None]
