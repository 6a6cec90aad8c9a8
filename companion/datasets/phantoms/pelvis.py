"""Sagittal T2-weighted MRI of the female pelvis, with and without a malignant tumour of the uterus. Book: Part 5.

``make`` gives slices with the masks that Fig. 12 of the review shows, uterus and tumour, to segment or to classify.
Rows run to inferior, columns to posterior, as radiologists look at it; the field of view is 240 mm.

What is modelled
    The median section of a grown woman's pelvis: uterus in anteversion or, one in five, retroversion, with endometrium,
    junctional zone, myometrium, cervix; fibroids in a third, with and without a tumour; bladder of any filling,
    urethra, vagina, rectum with gas, stool or gel, sigmoid colon and small bowel, lumbar and sacral spine with discs
    and dural sac, symphysis, muscles, fat. The tumour grows from the endometrium into the wall, with an irregular
    margin. Contrast of a T2-weighted turbo spin echo, uneven coil, Rician noise, partial volume. Neighbouring slices
    of one patient where asked for.

What is not
    Ovaries, iliac vessels, hips: whatever lies beside the median plane. Off it, only uterus, tumour and bladder change
    as they should, so slices further than 20 mm away are wrong. Cervical cancer, adenomyosis, polyps, spread beyond
    the uterus, the cycle and its changes, motion, wrap, chemical shift, truncation. The mosaic of bowel loops is one
    for all, of which each patient shows another piece.

Numbers and sources
    TR 5000, TE 100 ms. T1, T2 and proton density from ``mri.TISSUES``, but for: fat and marrow, to which an echo train
    gives a longer T2 (Henkelman et al., J Magn Reson Imaging 2, 1992, 533-540), 135 and 85 ms here; tumour 122 ms
    (endometrial carcinoma, median 103 and in type II 126 ms: Xu et al., Diagn Interv Radiol 29, 2023, 183-189);
    myometrium 97 ms, chosen between that of fertile women in ``TISSUES`` and the muscle's, as tumours come after
    menopause; bowel wall, stool, fibroids: chosen by how they look. Each patient's T2 differ by up to 8 %. Sizes:
    cervix 24 to 31 mm, cavity 26 to 38 mm, corpus 34 to 48 mm thick, tumours 18 to 48 mm long; rounded from textbooks.

Limits
    Half of the slices show a tumour, which suits training. The anatomy varies less than in a clinic. It is not clinical
    evidence: a Dice coefficient or an AUC reached here says nothing about one on patients.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from companion.datasets.cases import Cases
from companion.datasets.phantoms import pelvis_atlas, pelvis_bowel, pelvis_layers, pelvis_uterus
from companion.datasets.phantoms.pelvis_uterus import Uterus
from companion.datasets.phantoms.shapes import ellipsoid, grid, paint_parts, smooth_noise, uniform
from companion.mri import bias_field, rician

FIELD = 240.0            # mm, side of the image
MIDDLE = (-6.0, 8.0)     # mm, its middle in the atlas
SIGMA = 0.015            # of the noise at noise 1, where water at rest has the signal 1: fat has 30 times as much
BIAS = 0.25              # strength of the bias field at bias 1
SLICE = 6.0              # mm from slice to slice
WINDOW = 130.0           # mm, side of the square that holds any uterus
CHUNK_PIXELS = 450_000   # rendered at once, about 150 MB with all layers


@dataclass(frozen=True)
class Pelvis:
    """N slices.

    Args:
        labels: (N,) 1 where the slice cuts a tumour.
        patients: (N,) number of each slice's patient.
        offsets: (N,) distance from the median plane to the patient's left, in mm.
        uterus: its shape, and the tumour's.
        scale, shift: (N, 2) of the body against the atlas, shift in mm, along rows and columns.
        fat: (N,) thickness of the fat under the skin against the atlas, in mm.
        bladder: (N,) filling, from 0.4 to 1.
        rectum: (N,) by how much its ampulla is distended, in mm of the radius.
        content: (N,) of the rectum: gas (0), stool (1), gel (2).
        loops: (N, 3) turn in radians and shift in mm of the bowel loops.
        t2: (N, 12) T2 against the mean, in the order of ``pelvis_layers.SEEN``.
        contrast: (N,) power of the ratio of the tumour's T2 to the myometrium's.
        noise: (N,) its standard deviation, where water at rest has the signal 1.
        bias: (N, 1, 12, 12) bias field on a coarse grid, a factor.
        seeds: (N,) int64, one for each patient, for the shape of the body; grains: (N,) for texture and noise.
    """

    labels: Tensor
    patients: Tensor
    offsets: Tensor
    uterus: Uterus
    scale: Tensor
    shift: Tensor
    fat: Tensor
    bladder: Tensor
    rectum: Tensor
    content: Tensor
    loops: Tensor
    t2: Tensor
    contrast: Tensor
    noise: Tensor
    bias: Tensor
    seeds: Tensor
    grains: Tensor

    def of(self, index: Tensor) -> "Pelvis":
        """The slices with these numbers (M,), in that order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Pelvis(**{k: v.of(index) if k == "uterus" else v[index] for k, v in values.items()})

    def to(self, device: torch.device) -> "Pelvis":
        """The same slices on another device."""
        return Pelvis(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def draw(n: int, generator: torch.Generator, *, slices: int = 1, tumours: float = 0.5, contrast: float = 1.0,
         noise: float = 1.0, bias: float = 1.0, diameter: float = 1.0) -> Pelvis:
    """Slices of n patients, on the generator's device.

    Args:
        slices: of each patient, 6 mm apart around the median plane, one after the other. With one slice, exactly the
            share ``tumours`` (to one case) has a tumour; with more, this holds for the patients.
        tumours: share of the patients with a tumour.
        contrast: power of the ratio of the tumour's T2 to the myometrium's; larger is easier, 0 all but hides it.
        noise: against the default of 0.015 of the signal of water; larger is harder.
        bias: strength of the bias field against the default of 0.25; larger is harder, at most 3.9.
        diameter: of the tumours against the natural one; larger is easier, but the uterus cuts them off.

    Raises:
        ValueError: where n, slices or diameter is not positive, contrast, noise or bias is negative, bias is too
            strong, or tumours is outside of [0, 1].
    """
    _check(n, slices, tumours, contrast, noise, bias, diameter)
    device = generator.device

    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * math.prod(shape), low, high, generator).view(n, *shape)

    sick = torch.randperm(n, generator=generator, device=device) < round(tumours * n)
    drawn = Pelvis(
        labels=sick.long(), patients=torch.arange(n, device=device), offsets=torch.zeros(n, device=device),
        uterus=pelvis_uterus.draw(sick, generator, diameter), scale=between(0.94, 1.06, 2), shift=between(-5, 5, 2),
        fat=between(-5, 16), bladder=between(0.4, 1), rectum=between(5, 10.5),
        content=torch.randint(3, (n,), generator=generator, device=device),
        loops=torch.cat([between(0, 2 * math.pi, 1), between(-150, 150, 2)], 1), t2=between(0.92, 1.08, 12),
        contrast=torch.full((n,), float(contrast), device=device), noise=torch.full((n,), SIGMA * noise, device=device),
        bias=bias_field(n, (12, 12), BIAS * bias, generator), seeds=_seeds(n, generator), grains=_seeds(n, generator))
    return drawn if slices == 1 else _repeated(drawn, slices, generator)


def render(pelvis: Pelvis, size: Sequence[int] = (96, 96), *, lesions: bool = True,
           device: torch.device | None = None) -> Cases:
    """Images (N, 1, \\*size) between 0 and about 1, where water at rest has 1 before the bias field, and fat 0.46.

    The masks are ``uterus`` (with fibroids and tumour), ``tumour``, ``bladder`` (urine) and ``rectum`` (wall and
    content, from the sigmoid colon to the anus); a box, labelled 1, holds the tumour.

    Args:
        size: of the image in pixels; it always covers 240 mm.
        lesions: False leaves the tumours out and keeps all else, labels and noise included.
        device: to render on; by default where the parameters are.
    """
    pelvis = pelvis.to(device or pelvis.seeds.device)
    if not lesions:
        pelvis = replace(pelvis, uterus=replace(pelvis.uterus, tumour=0 * pelvis.uterus.tumour))
    chunk = max(1, CHUNK_PIXELS // math.prod(size))
    parts = [_slices(pelvis.of(index), size)
             for index in torch.arange(len(pelvis.labels), device=pelvis.labels.device).split(chunk)]
    images = torch.cat([image for image, _ in parts])
    masks = {name: torch.cat([mask[name] for _, mask in parts]) for name in parts[0][1]}
    boxes = [_box(m) for m in masks["tumour"]]
    return Cases(images=images, labels=pelvis.labels, classes=("no tumour", "tumour"), patients=pelvis.patients,
                 spacing=tuple(FIELD / s for s in size), masks=masks, parameters=pelvis, boxes=boxes,
                 box_labels=[torch.ones(len(b), dtype=torch.long, device=b.device) for b in boxes])


def make(n: int, generator: torch.Generator, size: Sequence[int] = (96, 96), **knobs) -> Cases:
    """Slices of n patients: ``draw`` (which takes the knobs), then ``render``."""
    return render(draw(n, generator, **knobs), size)


def _check(n: int, slices: int, tumours: float, contrast: float, noise: float, bias: float, diameter: float) -> None:
    for name, value in {"number of patients": n, "number of slices": slices, "diameter": diameter}.items():
        if value <= 0:
            raise ValueError(f"the {name} is {value}, but must be positive")
    for name, value in {"contrast": contrast, "noise": noise, "bias": bias}.items():
        if value < 0:
            raise ValueError(f"the {name} is {value}, but must not be negative")
    if not 0 <= tumours <= 1:
        raise ValueError(f"the share of tumours is {tumours}, but must lie in [0, 1]")


def _seeds(n: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2 ** 40, (n,), generator=generator, device=generator.device)


def _repeated(pelvis: Pelvis, slices: int, generator: torch.Generator) -> Pelvis:
    """Several slices of each patient, with a grain of their own and a label that says what they show."""
    n = len(pelvis.labels)
    each = pelvis.of(torch.arange(n, device=pelvis.labels.device).repeat_interleave(slices))
    offsets = (torch.arange(slices, device=each.labels.device) - (slices - 1) / 2).repeat(n) * SLICE
    return replace(each, offsets=offsets, grains=_seeds(n * slices, generator),
                   labels=pelvis_uterus.crossed(each.uterus, offsets).long())


def _slices(pelvis: Pelvis, size: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
    """Images (N, 1, \\*size) and their masks."""
    image, masks = _picture(pelvis, size)
    image = image[:, None] * torch.nn.functional.interpolate(pelvis.bias, tuple(size), mode="bicubic")
    noisy = [rician(i, sigma, torch.Generator().manual_seed(seed))
             for i, sigma, seed in zip(image, pelvis.noise.tolist(), pelvis.grains.tolist(), strict=True)]
    return torch.stack(noisy), masks


def _picture(pelvis: Pelvis, size: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
    """Images (N, \\*size) without noise and bias, and their masks."""
    points, width = _places(pelvis, size), max(FIELD / min(size), 1.0) + 0.4        # mm; the slice is not thin
    far = pelvis_atlas.at(points)
    look = pelvis_layers.look(pelvis.t2, pelvis.contrast, pelvis.grains, (FIELD, FIELD), size)
    loop, content = pelvis_bowel.loops(points, pelvis.loops[:, 0], pelvis.loops[:, 1:] + pelvis.offsets[:, None])
    rectum = torch.addcmul(far["rectum"], far["ampulla"], pelvis.rectum.view(-1, 1, 1), value=-1)
    image = pelvis_layers.fat(look)
    paint_parts(image, pelvis_layers.small_bowel(look, loop, content, far["cavity"]), width)
    paint_parts(image, pelvis_layers.frame(look, far), width)
    paint_parts(image, pelvis_layers.tubes(look, far, rectum, pelvis.content), width)
    image *= look.texture
    masks = _with_bladder(image, pelvis, points, look, width) | _with_uterus(image, pelvis, points, look, width)
    skin = pelvis.fat.view(-1, 1, 1) - far["skin"]
    paint_parts(image, [(skin - 2, 1.3 * look.signal["muscle"]), (skin, image.new_zeros(()))], width)
    masks["rectum"] = (rectum < 0) & (skin < 0)
    return image, {n: m if n in ("uterus", "tumour") else m & ~masks["uterus"] for n, m in masks.items()}


def _places(pelvis: Pelvis, size: Sequence[int]) -> Tensor:
    """Where in the atlas each pixel lies (N, \\*size, 2), in mm: moved, stretched and smoothly deformed."""
    points = grid(size, [FIELD / s for s in size], pelvis.scale.device) + pelvis.scale.new_tensor(MIDDLE)
    bent = torch.stack([3.5 * smooth_noise(pelvis.seeds + i, (FIELD, FIELD), size, 40.0)
                        + 0.6 * smooth_noise(pelvis.seeds + i + 2, (FIELD, FIELD), size, 9.0) for i in range(2)], -1)
    return points / pelvis.scale[:, None, None] + pelvis.shift[:, None, None] + bent


def _with_bladder(image: Tensor, pelvis: Pelvis, points: Tensor, look: pelvis_layers.Look,
                  width: float) -> dict[str, Tensor]:
    """Paint the bladder into the images, in place; fuller is higher, longer and wider."""
    fill = pelvis.bladder[:, None]
    centre = fill.new_tensor([4.0, -21.0]) - fill * fill.new_tensor([10.0, 3.0])
    radii = torch.cat([9 + 16 * fill, 20 + 10 * fill], 1) * pelvis_uterus.section(pelvis.offsets, 40.0)[:, None]
    window = _window(pelvis, centre, 95.0, image.shape[1:])
    distance = ellipsoid(points[window], centre, radii)
    image[window] = paint_parts(image[window], pelvis_layers.bladder(look, distance), width)
    return {"bladder": _whole(distance < 0, window, image.shape)}


def _with_uterus(image: Tensor, pelvis: Pelvis, points: Tensor, look: pelvis_layers.Look,
                 width: float) -> dict[str, Tensor]:
    """Paint the uterus into the images, in place."""
    path = pelvis_uterus.axis(pelvis.uterus)
    window = _window(pelvis, (path.amin(1) + path.amax(1)) / 2, WINDOW, image.shape[1:])
    near = pelvis_layers.Look(look.signal, *(texture[window] for texture in look[1:]))
    far = pelvis_uterus.layers(pelvis.uterus, points[window], pelvis.offsets, 0.9 * near.coarse)
    image[window] = paint_parts(image[window], pelvis_layers.uterus(near, far), width)
    return {name: _whole(far[name] < 0, window, image.shape) for name in ("uterus", "tumour")}


def _window(pelvis: Pelvis, middle: Tensor, side: float, size: Sequence[int]) -> tuple[Tensor, ...]:
    """Index of a square of ``side`` mm around the points (N, 2) of the atlas: most parts touch few pixels."""
    whole = middle.new_tensor(size)
    reach = [min(s, math.ceil(side / FIELD * s)) for s in size]
    place = ((middle - pelvis.shift) * pelvis.scale - middle.new_tensor(MIDDLE)) / FIELD * whole + whole / 2
    first = (place - middle.new_tensor(reach) / 2).clamp_min(0).minimum(whole - middle.new_tensor(reach)).long()
    rows, columns = (first[:, i, None] + torch.arange(reach[i], device=middle.device) for i in (0, 1))
    return torch.arange(len(middle), device=middle.device)[:, None, None], rows[:, :, None], columns[:, None]


def _whole(mask: Tensor, window: tuple[Tensor, ...], shape: Sequence[int]) -> Tensor:
    whole = torch.zeros(shape, dtype=torch.bool, device=mask.device)
    whole[window] = mask
    return whole


def _box(mask: Tensor) -> Tensor:
    """The box (1, 4) around a mask (H, W) as (x0, y0, x1, y1), or (0, 4) where it is empty."""
    inside = mask.nonzero()
    if not len(inside):
        return torch.zeros(0, 4, device=mask.device)
    return torch.cat([inside.amin(0).flip(0), inside.amax(0).flip(0) + 1]).float()[None]
