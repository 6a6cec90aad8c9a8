"""Soft parts of the thorax on the chest radiograph: lungs, heart, great vessels, diaphragm, chest wall, stomach gas.

Path lengths of the rays in mm through the average patient; positions z (to superior) and x (to the patient's left) in
mm from the middle of the field, as tensors (N, H, 1) and (N, 1, W), or (P,) both, so that most of the work is done on
single rows and columns.
"""

from torch import Tensor

from companion.datasets.phantoms.thorax_projection import Ellipsoid, chord, union

Number = Tensor | float


def lungs(z: Tensor, x: Tensor, heart: Number = 1.0, aorta: Number = 0.5, right: Number = 0.0,
          left: Number = 0.0) -> tuple[Tensor, Tensor]:
    """Path lengths through the chest cavity and through the lung in it.

    Args:
        heart, aorta, right, left: see ``thorax.Anatomy``, the last two for the domes.
    """
    chest = cavity(z, x)
    return chest, (chest - union(z, x, _mediastinum(heart, aorta) + _diaphragm(right, left))).clamp_min_(0)


def outer(z: Tensor) -> Tensor:
    """Distance of the lung's outer border from the midline at a height z of any shape."""
    return 43 + 100 * (1 - _top(z)).clamp_min(0) ** (1 / 2.2)


def cavity(z: Tensor, x: Tensor) -> Tensor:
    """Path length through the chest cavity, with a top on each side."""
    u, top = x.abs(), _top(z)
    across = ((u - 43).clamp_min(0) / 100) ** 2.2
    between = ((50 - u).clamp_min(0) / 29).square()
    return 170 * (((1 - top) - across) - top.square() * between).clamp_min_(0).pow_(0.45)


def _top(z: Tensor) -> Tensor:
    """0 in the lower chest, 1 at the tops of the lungs."""
    return ((z + 35) / 177).clamp_min(0) ** 2.3


def _mediastinum(heart: Number, aorta: Number) -> list[Ellipsoid]:
    """Ventricles, atria, base of the heart, pulmonary trunk, aorta, superior vena cava, the rest, spine."""
    return [((-56.0, 30.0), (43.0, 50.0, 59.0 * heart), 0.42), ((-48.0, -10.0), (44.0, 44.0, 35.0 * heart), 0.0),
            ((-86.0, 10.0), (38.0, 40.0, 48.0), 0.0), ((4.0, 20.0), (50.0, 44.0, 27.0), -0.1),
            ((-20.0, 4.0), (70.0, 44.0, 36.0), 0.0), ((61.0, 16.0), (19.0, 38.0, 20.0 + 6 * aorta), 0.0),
            ((42.0, 12.0), (44.0, 36.0, 20.0), 0.0), ((58.0, -12.0), (90.0, 30.0, 18.0), 0.0),
            ((120.0, 3.0), (100.0, 44.0, 25.0), 0.0),
            ((-40.0, 10.0 + 6 * aorta), (150.0, 30.0, 15.0), 0.0), ((-60.0, 0.0), (300.0, 34.0, 22.0), 0.0)]


def _diaphragm(right: Number, left: Number) -> list[Ellipsoid]:
    """Everything under the right dome, the left dome and the middle."""
    return [((-176.0 + right, -68.0), (94.0, 100.0, 88.0), 0.0), ((-188.0 + left, 72.0), (92.0, 100.0, 87.0), 0.0),
            ((-184.0, 5.0), (88.0, 96.0, 76.0), 0.0)]


def body(z: Tensor, x: Tensor, fat: Number) -> tuple[Tensor, Tensor]:
    """Path lengths through the whole of trunk, shoulders and neck, and through what lies under their fat.

    Args:
        fat: its thickness in mm.
    """
    over = ((z - 10).clamp_min(0) / (152 + fat)) ** 2.3
    trunk = ((1 - over) - (x.abs() / (157 + fat)) ** 2.6).clamp_min_(0).pow_(0.42).mul_(2 * (102 + fat))
    shoulder = ((84.0, 145.0), (62.0 + fat, 72.0, 92.0 + fat), 0.4)
    neck = ((195.0, 0.0), (110.0 + fat, 64.0, 54.0 + fat), 0.0)
    skin = union(z, x.abs(), [shoulder, neck], trunk)
    return skin, (skin.square() - 4 * ((102 + fat) ** 2 - 102 ** 2)).clamp_min_(0).sqrt_()


def breasts(z: Tensor, x: Tensor, thickness: Number) -> Tensor:
    """Path length through both breasts, ``thickness`` mm in the middle."""
    return chord(z, x.abs(), (-62.0, 78.0), (50.0, thickness / 2, 60.0))


def stomach_gas(z: Tensor, x: Tensor, left: Number, gas: Number) -> Tensor:
    """Path length through the air in the stomach under the left dome, with a level of fluid below it."""
    bubble = chord(z, x, (-124.0 + left, 74.0), (17.0 * gas, 26.0 * gas, 28.0 * gas))
    return bubble * (0.5 + (z + 128 - left) / 3).clamp(0, 1)
