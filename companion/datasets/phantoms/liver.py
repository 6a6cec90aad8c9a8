"""CT of the liver in several phases of contrast agent, with masses of five categories. Book: Part 5.

``make`` gives sections around a mass to classify, ``volumes`` the upper abdomen with liver and masses to segment,
``slices`` single sections through it. Phases are channels, in the order of ``phases``: name one to get it alone, or
take ``images[:, 1:2]``.

What is modelled
    The upper abdomen of ``abdomen`` with the masses of ``liver_masses``, each with its own course of enhancement, so
    that one phase confuses categories that three tell apart: hepatocellular carcinoma, small hemangiomas and some
    indeterminate masses are all bright in the arterial phase, cysts, metastases and the inside of hemangiomas dark.
    Patients breathe between the phases: each phase is shifted against the last one of the image, on which the masks
    lie. Noise has the grain of a reconstruction kernel.

What is not
    Cirrhosis, fat in a mass, bleeding, thrombosis, bulging surfaces and displaced vessels, several masses in a section
    to classify, organs that slide along each other when breathing. A mass that reaches the surface is cut off there. In
    a single section the shift is within its plane only.

Numbers and sources
    In ``abdomen`` and ``liver_masses``. Phases and categories after Yasaka et al., Radiology 286, 2018, 887-896
    (unenhanced, arterial, delayed); equal shares of the categories, unlike theirs; portal phase for segmentation as
    Christ et al., MICCAI 2016. Noise 12 HU at the standard dose, as in slices of 5 mm. Breathing scatters by 3 mm along
    the body, 1.5 mm to the front and 1 mm to the side.

Limits
    The chances of each feature are plausible and chosen by us. It is not clinical evidence: an accuracy reached here
    says nothing about an accuracy on patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from companion.datasets.cases import Cases
from companion.datasets.phantoms import abdomen, liver_masses, lung
from companion.datasets.phantoms.abdomen_geometry import Anatomy
from companion.datasets.phantoms.liver_masses import CATEGORIES, Masses
from companion.datasets.phantoms.shapes import uniform

CHUNK_VOXELS = 500_000             # rendered at once, about 100 MB
NOISE = 12.0                       # HU, at dose 1
BREATH = (3.0, 1.5, 1.0)           # mm along z, y, x
SLICE = 5.0                        # mm, thickness of a single section
MOST = 5                           # masses in a volume
THREE = ("unenhanced", "arterial", "delayed")


@dataclass(frozen=True)
class Examinations:
    """N patients with their masses, and how they are imaged.

    Args:
        anatomy, masses: of the N patients.
        labels: (N,) class numbers; classes: their names.
        centres: (N, 3) position of the image's middle in the patient, in mm along z, y, x.
        shifts: (N, 4, 3) by how much the patient has moved in each of ``abdomen.PHASES``, in mm.
        noise: (N,) standard deviation in HU; seeds: (N,) for its grain.
    """

    anatomy: Anatomy
    masses: Masses
    labels: Tensor
    classes: tuple[str, ...]
    centres: Tensor
    shifts: Tensor
    noise: Tensor
    seeds: Tensor

    def of(self, index: Tensor) -> "Examinations":
        """The patients with these numbers (M,), in that order."""
        kept = {name: getattr(self, name)[index] for name in ("labels", "centres", "shifts", "noise", "seeds")}
        return replace(self, anatomy=self.anatomy.of(index), masses=self.masses.of(index), **kept)

    def to(self, device: torch.device) -> "Examinations":
        """The same patients on another device."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return Examinations(**{k: v if isinstance(v, tuple) else v.to(device) for k, v in kept.items()})


def draw(n: int, generator: torch.Generator, *, contrast: float = 1.0, dose: float = 1.0, diameter: float = 1.0,
         motion: float = 1.0) -> Examinations:
    """Patients with one mass each, in equal shares (to one case) of the five categories.

    Args:
        contrast: difference of mass to liver against the natural one; larger is easier.
        dose: against the standard dose; the noise is 12 HU divided by its square root; larger is easier.
        diameter: of the masses against the natural one; larger is easier, but 2 fills the default image.
        motion: breathing between the phases against the natural one; 0 is none, larger is harder.

    Raises:
        ValueError: where n, contrast, dose or diameter is not positive, or motion negative.
    """
    _check(motion, number=n, contrast=contrast, dose=dose, diameter=diameter)
    labels = torch.randperm(n, generator=generator, device=generator.device) % len(CATEGORIES)
    anatomy = abdomen.draw(n, generator)
    masses = liver_masses.draw(anatomy, labels[:, None], generator, contrast=contrast, diameter=diameter)
    off = uniform(n * 3, -1, 1, generator).view(n, 3) * masses.radii.new_tensor((0.3, 6.0, 6.0))
    off[:, 0] *= masses.radii[:, 0].amin(1)                                          # the section cuts the mass
    return _examined(anatomy, masses, labels, CATEGORIES, masses.centres[:, 0] + off, generator, (dose, motion))


def draw_scans(n: int, generator: torch.Generator, *, masses: float = 1.5, contrast: float = 1.0, dose: float = 1.0,
               diameter: float = 1.0, motion: float = 1.0) -> Examinations:
    """Patients with none to five masses of any category in the liver; the label says whether there is one.

    Args:
        masses: mean number of masses in a patient (Poisson, at most 5).

    The other arguments are those of ``draw``.
    """
    _check(motion, number=n, contrast=contrast, dose=dose, diameter=diameter, masses=masses)
    rate = torch.full((n,), float(masses), device=generator.device)
    count = torch.poisson(rate, generator=generator).clamp(max=MOST)
    kinds = torch.randint(len(CATEGORIES), (n, MOST), generator=generator, device=generator.device)
    kinds = torch.where(torch.arange(MOST, device=kinds.device) < count[:, None], kinds, -1)
    anatomy = abdomen.draw(n, generator)
    found = liver_masses.draw(anatomy, kinds, generator, contrast=contrast, diameter=diameter)
    centre = anatomy.scale * anatomy.scale.new_tensor((-22.0, 0, 0))
    return _examined(anatomy, found, (count > 0).long(), ("no mass", "mass"), centre, generator, (dose, motion))


def render(examinations: Examinations, size: Sequence[int] = (64, 64), spacing: Sequence[float] = (1.2, 1.2), *,
           phases: Sequence[str] = THREE, lesions: bool = True, device: torch.device | None = None) -> Cases:
    """The images (N, phases, \\*size) in HU, masks ``liver`` (masses included) and ``mass``, a box around each mass.

    A box carries the category of its mass.

    Args:
        size, spacing: (rows, columns) for sections, (planes, rows, columns) for volumes, in voxels and in mm.
        phases: one or more of ``abdomen.PHASES``, the channels of the image.
        lesions: False leaves the masses out and keeps all else, noise included.
        device: to render on; by default where the parameters are.

    Raises:
        ValueError: where a phase is unknown.
    """
    device = device or examinations.labels.device
    full, steps = (size, spacing) if len(size) == 3 else ((1, *size), (SLICE, *spacing))
    chunk = max(1, CHUNK_VOXELS // (full[0] * full[1] * full[2]))
    parts = [_images(examinations.of(index).to(device), phases, full, steps, lesions)
             for index in torch.arange(len(examinations.labels), device=examinations.labels.device).split(chunk)]
    images, liver, number = (torch.cat(p) for p in zip(*parts, strict=True))
    if len(size) == 2:
        images, liver, number = images[:, :, 0], liver[:, 0], number[:, 0]
    kinds = examinations.masses.categories.to(device)
    boxes, there = liver_masses.boxes(number, kinds.shape[1])
    return Cases(images=images, labels=examinations.labels.to(device), classes=examinations.classes, unit="HU",
                 patients=torch.arange(len(images), device=device), spacing=tuple(spacing), parameters=examinations,
                 masks={"liver": liver, "mass": number > 0}, boxes=[b[t] for b, t in zip(boxes, there, strict=True)],
                 box_labels=[k[t] for k, t in zip(kinds, there, strict=True)])


def make(n: int, generator: torch.Generator, size: Sequence[int] = (64, 64), spacing: Sequence[float] = (1.2, 1.2),
         phases: Sequence[str] = THREE, **knobs) -> Cases:
    """n sections around a mass to classify: ``draw`` (which takes the knobs), then ``render``."""
    return render(draw(n, generator, **knobs), size, spacing, phases=phases)


def volumes(n: int, generator: torch.Generator, size: Sequence[int] = (24, 96, 96),
            spacing: Sequence[float] = (8.0, 4.0, 4.0), phases: Sequence[str] = ("portal",), **knobs) -> Cases:
    """n volumes of the upper abdomen to segment: ``draw_scans`` (which takes the knobs), then ``render``.

    ``millilitres`` gives the volume of a mask, ``parameters.masses.millilitres()`` that of each mass as drawn.
    """
    return render(draw_scans(n, generator, **knobs), size, spacing, phases=phases)


def slices(n: int, generator: torch.Generator, size: Sequence[int] = (96, 96), spacing: Sequence[float] = (4.0, 4.0),
           phases: Sequence[str] = ("portal",), **knobs) -> Cases:
    """n sections through the upper abdomen to segment, each of another patient of ``draw_scans``.

    The section goes through a mass where the patient has one, and through any level of the liver otherwise.
    """
    drawn = draw_scans(n, generator, **knobs)
    level = torch.where(drawn.labels > 0, drawn.masses.centres[:, 0, 0], uniform(n, -70, 40, generator))
    centres = torch.cat([level[:, None], drawn.centres[:, 1:]], 1)
    return render(replace(drawn, centres=centres), size, spacing, phases=phases)


def millilitres(mask: Tensor, spacing: Sequence[float]) -> Tensor:
    """Volume in ml (N,) of masks (N, D, H, W) with voxels of the given size in mm."""
    return mask.flatten(1).sum(1) * (spacing[0] * spacing[1] * spacing[2] / 1000)


def _check(motion: float, **knobs: float) -> None:
    for name, value in knobs.items():
        if value <= 0:
            raise ValueError(f"the {name} is {value}, but must be positive")
    if motion < 0:
        raise ValueError(f"the motion is {motion}, but must be 0 or more")


def _examined(anatomy: Anatomy, masses: Masses, labels: Tensor, classes: tuple[str, ...], centres: Tensor,
              generator: torch.Generator, knobs: tuple[float, float]) -> Examinations:
    (dose, motion), n = knobs, len(labels)
    shifts = torch.randn(n, 4, 3, generator=generator, device=labels.device).clamp(-2, 2)
    return Examinations(anatomy=anatomy, masses=masses, labels=labels, classes=classes, centres=centres,
                        shifts=motion * shifts * shifts.new_tensor(BREATH),
                        noise=torch.full((n,), NOISE / dose ** 0.5, device=labels.device),
                        seeds=torch.randint(2 ** 40, (n,), generator=generator, device=labels.device))


def _images(exam: Examinations, phases: Sequence[str], size: Sequence[int], spacing: Sequence[float],
            lesions: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Images in HU (N, phases, D, H, W), mask of the liver and number of the mass from 1, each (N, D, H, W)."""
    scene = abdomen.render(exam.anatomy, exam.centres, phases, size, spacing)
    images, numbers = scene.images, [abdomen.PHASES.index(p) for p in phases]
    number = torch.zeros_like(scene.liver, dtype=torch.long)
    if lesions:
        images, number = liver_masses.paint(images, scene.liver, exam.masses, exam.centres, numbers, spacing)
    shifts = (exam.shifts[:, numbers] - exam.shifts[:, numbers[-1:]]) / images.new_tensor(spacing)
    images = _moved(images, shifts) if shifts.any() else images
    grain = torch.stack([lung.noise(exam.seeds + phase, size, spacing, images.device) for phase in numbers], 1)
    return (images + exam.noise.view(-1, 1, 1, 1, 1) * grain).clamp_min(-1024), scene.liver >= 0.5, number


def _moved(images: Tensor, shifts: Tensor) -> Tensor:
    """Images (N, phases, D, H, W) moved by (N, phases, 3) voxels, interpolated linearly; edges repeat."""
    flat = images.flatten(0, 1)                                                     # (M, D, H, W)
    z, y, x = (_sampling(s, shifts[..., axis].flatten()) for axis, s in enumerate(images.shape[2:]))
    flat = y[:, None] @ flat @ x[:, None].mT
    return (z @ flat.flatten(2)).view_as(images) if len(z[0]) > 1 else flat.view_as(images)


def _sampling(size: int, shift: Tensor) -> Tensor:
    """Matrices (M, size, size) that move a line of voxels by (M,) of them."""
    place = torch.arange(size, device=shift.device)
    return (1 - ((place + shift[:, None]).clamp(0, size - 1)[..., None] - place).abs()).clamp_min(0)
