"""The upper abdomen without masses: CT values in each phase, organs in their places, one patient in every view."""

from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import abdomen, abdomen_geometry, abdomen_parts

SECTION = {"size": (1, 64, 96), "spacing": (5.0, 4.0, 4.0)}


@pytest.fixture(scope="module")
def patients() -> abdomen_geometry.Anatomy:
    return abdomen.draw(4, torch.Generator().manual_seed(1))


def plain(n=1) -> abdomen_geometry.Anatomy:
    """The average patient: no waves, no stretching, average uptake."""
    drawn = abdomen.draw(n, torch.Generator().manual_seed(0))
    none = torch.zeros_like
    return replace(drawn, scale=torch.ones_like(drawn.scale), bends=none(drawn.bends), uptake=torch.ones(n),
                   late=torch.zeros(n), parenchyma=torch.full((n,), 58.0), fat=torch.full((n,), 20.0))


@pytest.fixture(scope="module")
def volume() -> abdomen.Scene:
    """The average patient at 4 mm in all phases; voxel (z, y, x) mm is at ``at(z, y, x)``."""
    return abdomen.render(plain(), torch.zeros(1, 3), abdomen.PHASES, (56, 64, 96), (4.0, 4.0, 4.0))


def at(z, y, x) -> tuple[int, int, int]:
    return round(z / 4 + 27.5), round(y / 4 + 31.5), round(x / 4 + 47.5)


ORGANS = {"liver": (-10, -60, -90), "spleen": (-10, 50, 110), "aorta": (-90, 18, 8), "cava": (-95, 20, -25),
          "fluid": (2, -22, 60), "bile": (-52, -40, -46), "marrow": (-8, 46, 0), "air": (0, -120, 180)}


@pytest.mark.parametrize("tissue", ORGANS)
def test_organs_lie_in_their_place_and_have_their_values_in_each_phase(volume, tissue):
    found = volume.images[0][(slice(None), *at(*ORGANS[tissue]))]
    torch.testing.assert_close(found, torch.tensor(abdomen.TISSUES[tissue], dtype=torch.float32), atol=8, rtol=0)


def test_left_and_right_of_the_patient(volume):
    liver = volume.liver[0].nonzero().float().mean(0)
    assert liver[2] < 40                                                            # of 96 columns: image left
    assert (volume.liver[0, :, :, :48].sum() / volume.liver.sum()) > 0.8
    bone, row = volume.images[0, 0] > 150, torch.arange(64)[:, None]
    middle = bone[:, :, 44:52]
    assert (middle * row).sum() / middle.sum() > 40                                 # the spine is behind


def test_the_liver_has_the_volume_of_a_liver(patients):
    scene = abdomen.render(patients, patients.scale * torch.tensor([-22.0, 0, 0]), ["portal"], (26, 60, 92),
                           (8.0, 4.0, 4.0))
    litres = scene.liver.flatten(1).sum(1) * 8 * 4 * 4 / 1e6
    assert (1.1 < litres).all() and (litres < 2.2).all() and 1.3 < litres.mean() < 1.9


def test_enhancement_follows_uptake_and_timing(patients):
    hu = abdomen.values(patients, abdomen.PHASES)
    names = list(abdomen.TISSUES)
    aorta, cortex, medulla, liver = (hu[..., names.index(name)] for name in ("aorta", "kidney", "medulla", "liver"))
    assert (aorta.argmax(1) == 1).all() and (liver.argmax(1) == 2).all()
    assert (cortex[:, 1] > 1.4 * medulla[:, 1]).all() and torch.equal(liver[:, 0], patients.parenchyma)
    twice = abdomen.values(replace(patients, uptake=2 * patients.uptake), abdomen.PHASES)
    torch.testing.assert_close(twice - hu[:, :1], 2 * (hu - hu[:, :1]))
    late = abdomen.values(replace(patients, late=torch.ones(4)), abdomen.PHASES)
    torch.testing.assert_close(late[:, 1], late[:, 2])
    assert (hu[..., names.index("fat")] == -105).all()


def test_one_phase_is_a_channel_of_all(patients):
    many = abdomen.render(patients, torch.zeros(4, 3), abdomen.PHASES, **SECTION)
    one = abdomen.render(patients, torch.zeros(4, 3), ["delayed"], **SECTION)
    torch.testing.assert_close(many.images[:, 3:], one.images, atol=1e-2, rtol=0)
    with pytest.raises(ValueError, match="no phase 'venous'"):
        abdomen.values(patients, ["venous"])


def test_every_view_shows_the_same_patient(patients):
    """A crop is what the whole section shows there, but for where the coarse grid lies."""
    centre = torch.tensor([[-30.0, 2.0, 2.0]]).expand(4, 3)
    whole = abdomen.render(patients, centre, ["portal"], (1, 128, 192), (5.0, 2.0, 2.0)).images
    crop = abdomen.render(patients, centre, ["portal"], (1, 64, 64), (5.0, 2.0, 2.0)).images
    difference = (whole[..., 32:96, 64:128] - crop).abs()
    assert difference.median() < 1 and (difference > 60).float().mean() < 0.03


def test_place_undoes_average(patients):
    points = 80 * torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(patients.average(patients.place(points)), points, atol=0.05, rtol=0)


def test_veins_end_in_the_liver(patients):
    far = abdomen_geometry.distances(patients, torch.cat([patients.portal, patients.hepatic], 1))["liver"]
    assert (far < 0).float().mean() > 0.95


def test_depths_are_those_of_the_average_liver():
    points, deep = abdomen.depths(torch.device("cpu"))
    far = abdomen_geometry.distances(replace(plain(), stomach=torch.ones(1), spleen=torch.ones(1), left=torch.ones(1)),
                                     points[None])["liver"][0]
    torch.testing.assert_close(-far, deep, atol=1e-3, rtol=1e-3)
    assert deep.min() > 0 and 40 < deep.max() < 90


@pytest.mark.parametrize("name", ["right kidney", "spleen"])
def test_ellipsoids_against_the_general_function(name):
    centre, radii, angles = (torch.tensor([part], dtype=torch.float32) for part in abdomen_parts.ROUND[name])
    points = centre + 60 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    expected = abdomen_geometry.ellipsoid(points[None, :, None, None], centre, radii,
                                          abdomen_geometry.rotation(angles))[..., 0, 0]
    torch.testing.assert_close(abdomen_geometry._rounds(points[None], {})[name], expected, atol=0.05, rtol=1e-3)


def test_rods_by_hand():
    rods = (((0.0, 0.0, 0.0), (10.0, 0.0, 0.0)), ((0.0, 0.0, 20.0), (0.0, 5.0, 20.0)))
    points = torch.tensor([[[5.0, 4, 0], [-3, 4, 0], [0, 2, 18], [0, 9, 20]]])
    found = abdomen_geometry._rods(points, rods, 1.0)
    torch.testing.assert_close(found, torch.tensor([[3.0, 4, 1, 3]]), atol=1e-3, rtol=0)


def test_a_bend_starts_turns_and_ends_where_it_should():
    pieces = abdomen_parts.bend((0, 0, 0), (0, 10, 0), (0, 10, 10))
    assert pieces[0][0] == (0, 0, 0) and pieces[-1][1] == (0, 10, 10) and pieces[1][1] == (0, 7.5, 2.5)
    assert all(a[1] == b[0] for a, b in zip(pieces, pieces[1:], strict=False))


def test_a_box_holds_everything_below_the_number(patients):
    around = abdomen_geometry.field(patients, torch.zeros(4, 3), (1, 64, 96), (5.0, 4.0, 4.0))
    whole, box = around.fine(around.values["spleen"]), around.box(around.values["spleen"], 4.0)
    outside = torch.ones_like(whole, dtype=torch.bool)
    outside[(slice(None), *box)] = False
    assert not (whole[outside] < 4).any() and 0 < outside.float().mean() < 1
    torch.testing.assert_close(around.fine(around.values["spleen"], box), whole[(slice(None), *box)])


@pytest.mark.parametrize("size,spacing", [((1, 40, 50), (5.0, 1.3, 0.9)), ((7, 30, 44), (8.0, 9.0, 9.0))])
def test_any_size_and_spacing(size, spacing, device):
    few = abdomen.draw(2, torch.Generator().manual_seed(3)).to(device)
    scene = abdomen.render(few.of(torch.tensor([1, 0, 1], device=device)), torch.zeros(3, 3, device=device), ["portal"],
                           size, spacing)
    assert scene.images.shape == (3, 1, *size) and scene.images.device.type == device.type
    assert torch.equal(scene.images[0], scene.images[2]) and scene.images.isfinite().all()
    assert scene.images.min() >= -1001 and scene.images.max() < 500
    assert 0 <= scene.liver.min() and scene.liver.max() <= 1.01
