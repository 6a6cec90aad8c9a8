"""Lung nodules on CT, in 3D: benign, malignant, metastasis, and what is mistaken for one. Book: Parts 1 and 5.

``make`` gives nodules to classify, ``candidates`` nodules and look-alikes, ``scans`` the candidates of whole patients
for detection with false positives per scan, and ``overview`` the whole chest of one patient.

What is modelled
    The lung of ``lung`` around each finding. Solid, part-solid and ground-glass nodules with vessels visible in the
    glass; smooth, lobed and spiculated margins; calcium (central, laminated, diffuse, popcorn, fleck) and fat;
    converging vessels, feeding vessels, tails to the pleura; nodules on the pleura. Look-alikes: crossing and bent
    vessels, scars, pleural plaques, fat at the pleura. The classes share all features and differ in how often.

What is not
    Growth, cavities, air in bronchi within a nodule, satellites, enhancement, motion. A crop shows its own finding
    only, not a neighbour that may reach into it. The candidates are drawn, not found by a detector.

Numbers and sources
    In ``nodule_looks`` (sizes, margins, types), ``lung`` and ``lung_wall`` (CT values, noise). Half of the cases are
    malignant, which suits training and is far above the share met in screening. A candidate detector finds 93 % of the
    nodules before a network sees them (Setio et al., IEEE TMI 35, 2016, 1160-1169). Ternary task: Kang et al., PLoS
    ONE 12, 2017, e0188290.

Limits
    The chances of each feature are plausible and chosen by us. It is not clinical evidence: an AUC reached here says
    nothing about an AUC on patients, and the features that help here need not help there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from companion.datasets.cases import Cases
from companion.datasets.phantoms import lung, nodule_looks, nodule_places
from companion.datasets.phantoms.finding import Finding, layers
from companion.datasets.phantoms.lung_geometry import SPAN
from companion.datasets.phantoms.nodule_looks import KINDS, NODULES
from companion.datasets.phantoms.shapes import paint, uniform

CHUNK_VOXELS = 2_000_000   # rendered at once, about 200 MB with all layers
NOISE = 25.0               # HU, at dose 1
CHANCES = ((0, 0, 0, 0.3, 0.25, 0.2, 0.1, 0.15), (0.6, 0.25, 0.15, 0, 0, 0, 0, 0))  # of each kind in labels 0 and 1


@dataclass(frozen=True)
class Findings:
    """N findings in P patients.

    Args:
        anatomy: of the P patients.
        patients: (N,) number of each finding's patient.
        kinds: (N,) numbers of ``nodule_looks.KINDS``; below 3 for nodules.
        labels: (N,) class numbers; classes: their names.
        finding: the shapes.
        positions: (N, 3) in the scan, in mm from its middle along z, y, x.
        offsets: (N, 3) from the finding to the middle of its crop, in mm.
        diameters: (N,) in mm.
        noise: (N,) standard deviation in HU; seeds: (N,) for its grain.
        nodules_per_scan: (P,) true nodules of each patient, those that no candidate marks included.
    """

    anatomy: lung.Anatomy
    patients: Tensor
    kinds: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    finding: Finding
    positions: Tensor
    offsets: Tensor
    diameters: Tensor
    noise: Tensor
    seeds: Tensor
    nodules_per_scan: Tensor

    def of(self, index: Tensor) -> "Findings":
        """The findings with these numbers (M,), in that order; all patients are kept."""
        per_case = ("patients", "kinds", "labels", "positions", "offsets", "diameters", "noise", "seeds")
        return replace(self, finding=self.finding.of(index), **{name: getattr(self, name)[index] for name in per_case})

    def to(self, device: torch.device) -> "Findings":
        """The same findings on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Findings(**{k: v if isinstance(v, tuple) else v.to(device) for k, v in values.items()})


def draw(n: int, generator: torch.Generator, *, metastases: bool = False, contrast: float = 1.0, dose: float = 1.0,
         diameter: float = 1.0) -> Findings:
    """Nodules to classify, in equal shares (to one case): benign and malignant, with ``metastases`` a third class.

    Metastases come in patients of several, who then share a patient number; all other patients have one nodule.

    Args:
        metastases: whether there is the third class.
        contrast: difference of nodule to lung against the natural one; larger is easier.
        dose: against the standard dose; the noise is 25 HU divided by its square root; larger is easier.
        diameter: of the nodules against the natural one; larger is easier, but 2 fills the default crop.

    Raises:
        ValueError: where n, contrast, dose or diameter is not positive.
    """
    _check(n, contrast=contrast, dose=dose, diameter=diameter)
    count = 3 if metastases else 2
    kinds = torch.randperm(n, generator=generator, device=generator.device) % count
    patients = _shared(kinds == 2, generator)
    anatomy = lung.draw(int(patients.max()) + 1, generator)
    return _placed(anatomy, patients, kinds, kinds, KINDS[:count], generator, (contrast, dose, diameter))


def draw_candidates(n: int, generator: torch.Generator, *, nodules: float = 0.5, contrast: float = 1.0,
                    dose: float = 1.0, diameter: float = 1.0) -> Findings:
    """Nodules of all three kinds (label 1, a share ``nodules`` of n) and look-alikes (label 0), one per patient.

    They are 0.7 times as large as those of ``draw``, as nodules that have to be found are smaller.

    The other arguments are those of ``draw``.
    """
    _check(n, contrast=contrast, dose=dose, diameter=diameter)
    labels = (torch.randperm(n, generator=generator, device=generator.device) < round(nodules * n)).long()
    anatomy, patients = lung.draw(n, generator), torch.arange(n, device=labels.device)
    return _placed(anatomy, patients, _any_kind(labels, generator), labels, ("non-nodule", "nodule"), generator,
                   (contrast, dose, 0.7 * diameter))


def draw_scans(patients: int, generator: torch.Generator, *, nodules: float = 1.3, false: int = 8, found: float = 0.93,
               contrast: float = 1.0, dose: float = 1.0, diameter: float = 1.0) -> Findings:
    """All candidates of whole scans: the nodules that a candidate detector found, and its false candidates.

    Args:
        nodules: mean number of nodules in a scan (Poisson, at most 6; LUNA16 has 1186 in 888 scans).
        false: look-alikes among the candidates of each scan.
        found: share of the nodules that are among the candidates.

    The other arguments are those of ``draw``, the size is that of ``draw_candidates``.
    """
    _check(patients, contrast=contrast, dose=dose, diameter=diameter, nodules=nodules, false=false, found=found)
    rate = torch.full((patients,), float(nodules), device=generator.device)
    true = torch.poisson(rate, generator=generator).long().clamp(max=6)
    slots = torch.arange(6 + false, device=true.device).expand(patients, -1)
    seen = uniform(patients * 6, 0, 1, generator).view(patients, 6) < found
    keep = (slots >= 6) | ((slots < true[:, None]) & torch.nn.functional.pad(seen, (0, false), value=True))
    owner, slot = keep.nonzero(as_tuple=True)
    labels = (slot < 6).long()
    drawn = _placed(lung.draw(patients, generator), owner, _any_kind(labels, generator), labels,
                    ("non-nodule", "nodule"), generator, (contrast, dose, 0.7 * diameter))
    return replace(drawn, nodules_per_scan=true)


def render(findings: Findings, size: Sequence[int] = (48, 48, 48), spacing: Sequence[float] = (1.0, 1.0, 1.0), *,
           lesions: bool = True, device: torch.device | None = None) -> Cases:
    """The crops around the findings: images (N, 1, \\*size) in HU, mask ``nodule``, a box around each nodule.

    Look-alikes have an empty mask and no box. A box carries the case's label.

    Args:
        size, spacing: along z, y, x, in voxels and in mm.
        lesions: False leaves the findings out and keeps all else, noise included.
        device: to render on; by default where the parameters are.
    """
    device = device or findings.positions.device
    chunk = max(1, CHUNK_VOXELS // (size[0] * size[1] * size[2]))
    parts = [_crops(findings.of(index).to(device), size, spacing, lesions)
             for index in torch.arange(len(findings.labels), device=findings.labels.device).split(chunk)]
    images, mask = (torch.cat(p) for p in zip(*parts, strict=True))
    boxes = [_box(m) for m in mask]
    labels = findings.labels.to(device)
    return Cases(images=images[:, None], labels=labels, classes=findings.classes, unit="HU", spacing=tuple(spacing),
                 patients=findings.patients.to(device), masks={"nodule": mask}, boxes=boxes, parameters=findings,
                 box_labels=[label.expand(len(box)) for label, box in zip(labels, boxes, strict=True)])


def make(n: int, generator: torch.Generator, size: Sequence[int] = (48, 48, 48),
         spacing: Sequence[float] = (1.0, 1.0, 1.0), **knobs) -> Cases:
    """n nodules to classify: ``draw`` (which takes the knobs), then ``render``."""
    return render(draw(n, generator, **knobs), size, spacing)


def candidates(n: int, generator: torch.Generator, size: Sequence[int] = (48, 48, 48),
               spacing: Sequence[float] = (1.0, 1.0, 1.0), **knobs) -> Cases:
    """n candidates, nodule or not: ``draw_candidates`` (which takes the knobs), then ``render``."""
    return render(draw_candidates(n, generator, **knobs), size, spacing)


def scans(patients: int, generator: torch.Generator, size: Sequence[int] = (48, 48, 48),
          spacing: Sequence[float] = (1.0, 1.0, 1.0), **knobs) -> Cases:
    """The candidates of whole scans: ``draw_scans`` (which takes the knobs), then ``render``.

    ``parameters.nodules_per_scan`` has the number of nodules to find, ``parameters.positions`` where they are.
    ``Cases.select`` keeps the numbers of all patients: take those of its ``patients.unique()``.
    """
    return render(draw_scans(patients, generator, **knobs), size, spacing)


def overview(findings: Findings, patient: int, spacing: float = 2.0) -> Cases:
    """The whole chest of one patient with all findings: one image (1, 1, D, H, W), mask and boxes of the nodules.

    Slice 0 is the lowest, row 0 anterior, column 0 at the patient's right.
    """
    mine = findings.of((findings.patients == patient).nonzero()[:, 0])
    size, steps = tuple(int(s / spacing) for s in SPAN), (spacing,) * 3
    middle = mine.positions.new_zeros(1, 3)
    image = lung.render(findings.anatomy, torch.tensor([patient], device=middle.device), middle, size, steps).image()[0]
    side, whole = (min(int(56 / spacing), *size),) * 3, middle.new_tensor(size)
    corners = ((mine.positions / spacing + (whole - side[0]) / 2).round().clamp_min(0)).minimum(whole - side[0]).long()
    centres = (corners + (side[0] - 1) / 2 - (whole - 1) / 2) * spacing
    crops, shown = _crops(replace(mine, offsets=centres - mine.positions, noise=0 * mine.noise), side, steps, True)
    mask, boxes = torch.zeros(size, dtype=torch.bool, device=middle.device), []
    for corner, crop, nodule in zip(corners, crops, shown, strict=True):
        place = tuple(slice(c, c + side[0]) for c in corner.tolist())
        image[place], mask[place] = crop, mask[place] | nodule
        boxes.append(_box(nodule) + corner.flip(0).repeat(2))
    grain = lung.noise(findings.anatomy.seeds[patient, None], size, steps, middle.device)[0]
    image = (image + grain * findings.noise[0]).clamp_min(-1024)
    labels = torch.cat([label.expand(len(box)) for label, box in zip(mine.labels, boxes, strict=True)])
    return Cases(images=image[None, None], labels=mine.labels.amax(0, keepdim=True), classes=findings.classes,
                 patients=labels.new_tensor([patient]), unit="HU", spacing=steps, masks={"nodule": mask[None]},
                 boxes=[torch.cat(boxes)], box_labels=[labels], parameters=mine)


def _check(n: int, **knobs: float) -> None:
    for name, value in {"number of cases": n, **knobs}.items():
        if value <= 0:
            raise ValueError(f"the {name} is {value}, but must be positive")


def _shared(metastasis: Tensor, generator: torch.Generator) -> Tensor:
    """Patient numbers (N,): a metastasis belongs to the patient of the one before it in 6 of 10 cases."""
    first = metastasis & (metastasis.cumsum(0) == 1)
    starts = ~metastasis | first | (uniform(len(metastasis), 0, 1, generator) > 0.6)
    order = metastasis.int().argsort(stable=True)
    return (starts[order].cumsum(0) - 1)[order.argsort()]


def _any_kind(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A kind of nodule where the label is 1, of look-alike where it is 0 (N,)."""
    chances = torch.tensor(CHANCES, device=labels.device)[labels]
    return torch.multinomial(chances, 1, generator=generator)[:, 0]


def _placed(anatomy: lung.Anatomy, patients: Tensor, kinds: Tensor, labels: Tensor, classes: tuple[str, ...],
            generator: torch.Generator, knobs: tuple[float, float, float]) -> Findings:
    """Findings of the given kinds: size, place and looks."""
    (contrast, dose, diameter), n = knobs, len(kinds)
    across = nodule_looks.diameters(kinds, generator, diameter)
    positions = nodule_places.draw(anatomy, patients, kinds, across, generator)
    depth, outward = lung.depth(anatomy.of(patients), positions[:, None])
    looks = nodule_looks.draw(kinds, across, outward[:, 0], depth[:, 0], generator, contrast)
    return Findings(anatomy=anatomy, patients=patients, kinds=kinds, labels=labels, classes=classes, finding=looks,
                    positions=positions, offsets=uniform(3 * n, -3, 3, generator).view(n, 3), diameters=across,
                    noise=torch.full((n,), NOISE / dose ** 0.5, device=kinds.device),
                    seeds=torch.randint(2 ** 40, (n,), generator=generator, device=kinds.device),
                    nodules_per_scan=torch.bincount(patients[kinds < NODULES], minlength=len(anatomy.fat)))


def _crops(findings: Findings, size: Sequence[int], spacing: Sequence[float], lesions: bool) -> tuple[Tensor, Tensor]:
    """Images in HU and masks of the nodules, each (N, \\*size)."""
    centre = findings.positions + findings.offsets
    scene = lung.render(findings.anatomy, findings.patients, centre, size, spacing)
    image, mask = scene.image(), torch.zeros_like(scene.lung, dtype=torch.bool)
    if lesions:
        shown = layers(findings.finding, -findings.offsets, size, spacing)
        tissue = paint(scene.tissue, shown.glass, findings.finding.glass.view(-1, 1, 1, 1))
        image = scene.image(tissue, shown.solid, shown.value)
        mask = (torch.maximum(shown.glass, shown.solid) >= 0.5) & (scene.lung >= 0.5)
        mask &= (findings.kinds < NODULES).view(-1, 1, 1, 1)
    grain = lung.noise(findings.seeds, size, spacing, image.device)
    return (image + findings.noise.view(-1, 1, 1, 1) * grain).clamp_min(-1024), mask


def _box(mask: Tensor) -> Tensor:
    """The box (1, 6) around a mask (D, H, W) as (x0, y0, z0, x1, y1, z1), or (0, 6) where it is empty."""
    inside = mask.nonzero()
    if not len(inside):
        return torch.zeros(0, 6, device=mask.device)
    return torch.cat([inside.amin(0).flip(0), inside.amax(0).flip(0) + 1]).float()[None]
