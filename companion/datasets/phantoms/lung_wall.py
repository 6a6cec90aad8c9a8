"""What surrounds the lung in its phantom: chest wall with ribs, mediastinum with heart and vessels, upper abdomen.

CT values in HU: fat -100, blood 40, muscle 55, liver 60, disc 80, spongy bone 130 to 170, bone shells 420 to 700.
"""

import torch
from torch import Tensor

from companion.datasets.phantoms.lung_geometry import Field
from companion.datasets.phantoms.shapes import occupancy, paint

BLOOD, MUSCLE, FAT, AIR = 40.0, 55.0, -100.0, -1000.0  # HU


def surroundings(field: Field, fat: Tensor, ribs: Tensor, width: float) -> Tensor:
    """CT values of everything that is not lung: fat, then what lies in it, part by part.

    Args:
        fat: (N,) thickness of the fat under the skin, in mm.
        ribs: (N,) position of the ribs along the body, in mm.
        width: of the soft edges, in mm.

    Returns:
        (N, \\*size) in HU.
    """
    image = torch.full((len(fat), *field.size), FAT, device=fat.device)
    for distance, value in _parts(field.values, fat.view(-1, 1, 1, 1)):
        cases = (distance.flatten(1).amin(1) < width).nonzero()[:, 0]               # most crops hold few of the parts
        image[cases] = paint(image[cases], occupancy(field.fine(distance[cases]), width), value)
    return _skin(_ribs(image, field, ribs, width), field, width)


def _parts(far: dict[str, Tensor], fat: Tensor) -> list[tuple[Tensor, float]]:
    """Distance and HU of each part, in the order of painting."""
    spine, sternum = far["spine"], far["sternum"]
    return [(torch.maximum(far["skin"] + fat + 2, -far["cavity"]), MUSCLE),
            (torch.maximum(far["belly"] - 2.5, far["cavity"]), 60.0), (far["gas"], AIR + 50), (far["heart"], BLOOD),
            (far["scapula"], 550.0), (sternum, 420.0), (sternum + 1.6, 130.0), (far["arch"], 420.0), (spine, 450.0),
            (spine + 1.5, 170.0), (torch.maximum(spine, far["disc"]), 80.0), (far["canal"], 15.0)]


def _ribs(image: Tensor, field: Field, ribs: Tensor, width: float) -> Tensor:
    """Ribs that fall toward the front, cartilage there, and a layer of fat between the muscles outside of them."""
    cavity = field.values["cavity"].flatten(1)
    cases = ((cavity.amin(1) < 18 + width) & (cavity.amax(1) > 0)).nonzero()[:, 0]
    chest, height, side, front = (field.fine(field.values[name][cases]) for name in ("cavity", "height", "side",
                                                                                     "front"))
    turn = (height + ribs[cases, None, None, None]) / 26
    rib = torch.hypot((chest - 6) / 4, (turn - turn.round()) * 24 / 6.5) * 4.5 - 4.5
    rib = torch.maximum(rib, 17 - side.abs())
    bony = occupancy(front, 8.0)
    wall = paint(image[cases], occupancy((chest - 17).abs() - 0.8, width), FAT)
    wall = paint(wall, occupancy(rib, width), 110 + 590 * bony)
    image[cases] = paint(wall, occupancy(rib + 1.6, width), 110 + 70 * bony)
    return image


def _skin(image: Tensor, field: Field, width: float) -> Tensor:
    """Skin, and air around the patient."""
    cases = (field.values["skin"].flatten(1).amax(1) > -2 - width).nonzero()[:, 0]
    depth = -field.fine(field.values["skin"][cases])
    skin = paint(image[cases], occupancy(depth - 1.5, width), 20.0)
    image[cases] = paint(skin, occupancy(depth, width), AIR)
    return image
