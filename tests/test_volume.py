from itertools import permutations, product

import pytest
import torch

from companion.datasets.volume import PLANES, Volume

SPL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
ORIENTATIONS = ["".join(o) for pairs in permutations(("LR", "PA", "SI")) for o in product(*pairs)]


def volume(device="cpu", **changes) -> Volume:
    """2 axial slices, 3 rows, 4 columns; each value tells its place: 100 d + 10 h + w."""
    d, h, w = torch.meshgrid(*(torch.arange(n, device=device) for n in (2, 3, 4)), indexing="ij")
    fields = {"array": (100 * d + 10 * h + w).float(), "spacing": (5.0, 2.0, 1.0), "directions": SPL,
              "origin": (-7.0, 8.0, 9.0), "modality": "CT", "unit": "HU"}
    return Volume(**fields | changes)


def test_position_by_hand():
    assert volume().position(0, 0, 0) == (-7, 8, 9)
    assert volume().position(1, 2, 3) == (-7 + 3 * 1, 8 + 2 * 2, 9 + 1 * 5)
    assert volume().position(0, 0, 0.5) == (-6.5, 8, 9)


def test_orientation_names_where_each_index_grows_to():
    assert volume().orientation == PLANES["axial"] == "SPL"
    assert volume(directions=((-1.0, 0, 0), (0, 0, -1.0), (0, 1.0, 0))).orientation == "RIP"


def test_oblique_axes_take_the_nearest_letter_and_say_so():
    tilted = volume(directions=((0.0, -0.6, 0.8), (0.0, 0.8, 0.6), (1.0, 0.0, 0.0)))
    assert tilted.orientation == "SPL"
    assert tilted.obliqueness == pytest.approx(36.8699, abs=1e-3)
    assert "SPL (36.9 degrees oblique)" in repr(tilted)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("across", range(3))
def test_axes_at_45_degrees_keep_their_letters_when_reoriented(across, orientation):
    half = 0.5 ** 0.5
    x, y = (axis for axis in range(3) if axis != across)
    directions = [[0.0] * 3 for _ in range(3)]
    directions[0][across] = 1.0
    directions[1][x], directions[1][y], directions[2][x], directions[2][y] = half, half, -half, half
    before = volume(directions=tuple(map(tuple, directions)))
    after = before.reoriented(orientation)
    assert after.orientation == orientation
    assert after.reoriented(before.orientation).directions == before.directions


def test_a_coronal_view_by_hand(device):
    coronal = volume(device).reoriented(PLANES["coronal"])           # D grows to P, H to I, W to L
    assert coronal.array.tolist() == [[[100 + 10 * k + w for w in range(4)], [10 * k + w for w in range(4)]]
                                      for k in range(3)]
    assert (coronal.spacing, coronal.orientation, coronal.origin) == ((2.0, 5.0, 1.0), "PIL", (-7.0, 8.0, 14.0))
    assert coronal.array.device.type == device.type and coronal.array.is_contiguous()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_reorienting_moves_no_value_in_the_patient(orientation):
    before, after = volume(), volume().reoriented(orientation)
    places = {before.position(*i): before.array[i] for i in product(*map(range, before.array.shape))}
    assert after.orientation == orientation
    assert {after.position(*i): after.array[i] for i in product(*map(range, after.array.shape))} == places
    back = after.reoriented("SPL")
    assert (back.origin, back.spacing, back.directions) == (before.origin, before.spacing, before.directions)
    torch.testing.assert_close(back.array, before.array, rtol=0, atol=0)


def test_repr_tells_a_radiologist_what_it_is():
    assert repr(volume()) == ("Volume(CT, shape (2, 3, 4), spacing 5 x 2 x 1 mm, orientation SPL, "
                              "values 0 to 123 HU)")
    assert repr(volume(modality="", unit="")).endswith("values 0 to 123)")


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        volume().unit = "mm"


@pytest.mark.parametrize(("field", "value", "message"), [
    ("array", torch.zeros(3, 4), r"shape \(3, 4\).*must be torch.float32 of shape \(D, H, W\)"),
    ("array", torch.zeros(2, 3, 4, dtype=torch.int16), "torch.int16.*must be torch.float32"),
    ("array", torch.zeros(0, 3, 4), "at least one voxel"),
    ("spacing", (5.0, 0.0, 1.0), r"spacing is \(5.0, 0.0, 1.0\).*three positive numbers"),
    ("spacing", (1.0, 1.0), "three positive numbers"),
    ("spacing", (1.0, 1.0, float("inf")), "three positive numbers"),
    ("origin", (0.0, 0.0), "three finite numbers"),
    ("origin", (0.0, 0.0, float("nan")), "three finite numbers"),
    ("directions", SPL[:2], "three unit vectors"),
    ("directions", (SPL[0], SPL[1], (2.0, 0.0, 0.0)), "three unit vectors"),
    ("directions", (SPL[0], SPL[1], (0.6, 0.8, 0.0)), "right angles"),
])
def test_broken_rules_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        volume(**{field: value})


@pytest.mark.parametrize("orientation", ["SP", "SPLL", "SPS", "SIL", "XYZ", "spl", ""])
def test_orientations_that_are_none(orientation):
    with pytest.raises(ValueError, match="one letter of each pair"):
        volume().reoriented(orientation)
