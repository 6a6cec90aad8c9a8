"""Hand-crafted features: the benchmark of the IBSI, matrices and solids worked by hand, libraries, invariances."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import graycomatrix, graycoprops
from torch.testing import assert_close

from companion import radiomics
from companion.datasets.cases import Cases

ONE_MM = (1.0, 1.0, 1.0)

# The digital phantom of the IBSI (CC BY 4.0), 2 mm voxels; 0 lies outside the region.
PHANTOM = torch.tensor([[[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
                        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
                        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
                        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]]])
# Its consensus values (Zwanenburg et al. 2020, reference manual), with the manual's three digits.
BENCHMARK = {
    "first order": {"mean": 2.15, "variance": 3.05, "skewness": 1.08, "kurtosis": -0.355, "median": 1, "minimum": 1,
                    "10th percentile": 1, "90th percentile": 4, "maximum": 6, "interquartile range": 3, "range": 5,
                    "mean absolute deviation": 1.55, "energy": 567, "root mean square": 2.77, "entropy": 1.27,
                    "uniformity": 0.512},
    "shape": {"volume": 556, "volume by voxels": 592, "surface area": 388, "surface to volume ratio": 0.698,
              "compactness 1": 0.0411, "compactness 2": 0.599, "sphericity": 0.843, "maximum 3D diameter": 13.1,
              "major axis length": 11.4, "minor axis length": 9.31, "least axis length": 8.54, "elongation": 0.816,
              "flatness": 0.749},
    "texture": {"joint maximum": 0.509, "joint average": 2.15, "joint variance": 3.13, "joint entropy": 2.57,
                "angular second moment": 0.291, "contrast": 5.12, "dissimilarity": 1.38, "inverse difference": 0.688,
                "inverse difference moment": 0.631, "correlation": 0.183, "cluster tendency": 7.41,
                "cluster shade": 17.4, "cluster prominence": 147},
}
IN_SLICES = {"joint maximum": 0.492, "joint average": 2.2, "joint variance": 3.24, "joint entropy": 2.61,
             "angular second moment": 0.277, "contrast": 5.29, "dissimilarity": 1.44, "inverse difference": 0.673,
             "inverse difference moment": 0.613, "correlation": 0.182, "cluster tendency": 7.65, "cluster shade": 16.4,
             "cluster prominence": 142}


def three_digits(found):
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def volume(rows):
    return torch.tensor(rows)[None]


def everywhere(image):
    return torch.ones(image.shape, dtype=torch.bool)


def ball(radius, size=None):
    size = size or 2 * radius + 3
    z, y, x = torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 3, indexing="ij")
    return z**2 + y**2 + x**2 <= radius**2


def box(a, b, c, pad=1):
    return torch.nn.functional.pad(torch.ones(a, b, c, dtype=torch.bool), (pad,) * 6)


@pytest.fixture
def case(generator):
    """A random image and a lump in it."""
    image = 100 * torch.randn(6, 9, 8, generator=generator) - 200
    mask = torch.zeros(6, 9, 8, dtype=torch.bool)
    mask[1:5, 2:7, 1:6] = torch.rand(4, 5, 5, generator=generator) < 0.8
    return image, mask


def test_benchmark_of_the_ibsi():
    found = radiomics.features(PHANTOM.float(), PHANTOM > 0, (2.0, 2.0, 2.0), bin_width=1)
    expected = {f"{family}: {name}": value for family, values in BENCHMARK.items() for name, value in values.items()}
    assert three_digits(found) == pytest.approx(expected, rel=2e-3)       # 556.3 stands for 556, 147.5 for 147


def test_benchmark_of_the_ibsi_in_slices():
    found = radiomics.texture(PHANTOM, PHANTOM > 0, bin_width=1, dimensions=2)
    assert three_digits(found) == pytest.approx(IN_SLICES, abs=1e-12)


def test_matrix_by_hand():
    # Rows 1 2 / 2 2: along the row (1,2) (2,2), down (1,2) (2,2), diagonals (1,2) and (2,2); then each pair both ways.
    assert radiomics.cooccurrence(volume([[1, 2], [2, 2]])).tolist() == [[0, 3], [3, 6]]
    assert radiomics.cooccurrence(volume([[1, 2], [2, 2]]), dimensions=2).tolist() == [[0, 3], [3, 6]]
    # Without the voxel at the lower right: (1,2), (1,2) and the diagonal (2,2).
    assert radiomics.cooccurrence(volume([[1, 2], [2, 0]])).tolist() == [[0, 2], [2, 2]]


def test_pairs_along_rows_by_hand():
    # Counted to the right in each row, then both ways; single rows, so that no other pairs exist.
    rows = [[1, 2, 2, 3], [1, 2, 3, 3], [4, 2, 4, 1], [4, 1, 2, 3]]
    total = torch.zeros(4, 4, dtype=torch.int64)
    for row in rows:
        found = radiomics.cooccurrence(volume([row]))
        total[:len(found), :len(found)] += found
    to_the_right = torch.tensor([[0, 3, 0, 0], [0, 1, 3, 1], [0, 0, 1, 0], [2, 1, 0, 0]])
    assert torch.equal(total, to_the_right + to_the_right.T)


def test_features_of_a_matrix_by_hand():
    # p = 1/4 everywhere: all of the features follow from two fair, independent coins.
    fair = radiomics.glcm_features(torch.ones(2, 2))
    assert fair == pytest.approx({
        "joint maximum": 0.25, "joint average": 1.5, "joint variance": 0.25, "joint entropy": 2,
        "angular second moment": 0.25, "contrast": 0.5, "dissimilarity": 0.5, "inverse difference": 0.75,
        "inverse difference moment": 0.75, "correlation": 0, "cluster tendency": 0.5, "cluster shade": 0,
        "cluster prominence": 0.5})
    # p = 1/2 off the diagonal only, levels 1 and 3: neighbours always differ by 2.
    found = radiomics.glcm_features(torch.tensor([[0, 0, 5], [0, 0, 0], [5, 0, 0]]))
    assert [found[k] for k in ("contrast", "dissimilarity", "correlation", "joint entropy")] == [4, 2, -1, 1]
    assert found["inverse difference"] == pytest.approx(1 / 3)
    assert found["inverse difference moment"] == pytest.approx(0.2)


def test_one_level_has_no_texture():
    found = radiomics.glcm_features(torch.tensor([[8]]))
    assert found["joint entropy"] == found["contrast"] == found["joint variance"] == 0
    assert found["correlation"] == found["angular second moment"] == 1


@pytest.mark.parametrize("property_", ["contrast", "dissimilarity", "homogeneity", "ASM", "correlation"])
def test_texture_equals_scikit_image(generator, property_):
    image = torch.randint(1, 7, (1, 12, 9), generator=generator)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(image[0].numpy().astype(np.uint8), [1], angles, levels=7, symmetric=True)
    merged = matrix.sum(-1, keepdims=True)[1:, 1:]
    ours = {"homogeneity": "inverse difference moment", "ASM": "angular second moment"}.get(property_, property_)
    for dimensions in (2, 3):
        counts = radiomics.cooccurrence(image, dimensions)
        assert torch.equal(counts, torch.from_numpy(merged[:, :, 0, 0].astype(np.int64)))
        expected = graycoprops(merged / merged.sum(), property_).item()
        assert radiomics.glcm_features(counts)[ours] == pytest.approx(expected)


def test_pairs_in_the_volume_by_brute_force(case):
    image, mask = case
    levels = radiomics.levels(image, mask, bin_width=80)
    counts = torch.zeros(int(levels.max()), int(levels.max()), dtype=torch.int64)
    places = mask.nonzero()
    for a, b in itertools.product(places.tolist(), repeat=2):
        if max(abs(p - q) for p, q in zip(a, b, strict=True)) == 1:
            counts[levels[tuple(a)] - 1, levels[tuple(b)] - 1] += 1
    assert torch.equal(radiomics.cooccurrence(levels), counts)


def test_first_order_equals_scipy(case):
    image, mask = case
    x, found = image[mask].double().numpy(), radiomics.first_order(image, mask)
    assert found["skewness"] == pytest.approx(scipy.stats.skew(x))
    assert found["kurtosis"] == pytest.approx(scipy.stats.kurtosis(x))
    assert found["interquartile range"] == pytest.approx(scipy.stats.iqr(x))
    histogram = np.histogram(x, np.arange(x.min(), x.max() + 50, 25.0))[0]
    assert found["entropy"] == pytest.approx(scipy.stats.entropy(histogram, base=2))


def test_first_order_by_hand():
    image = volume([[0.0, 0, 2, 2]])
    found = radiomics.first_order(image, everywhere(image), bin_width=1)
    assert (found["mean"], found["variance"], found["skewness"], found["kurtosis"]) == (1, 1, 0, -2)
    assert (found["energy"], found["entropy"], found["uniformity"]) == (8, 1, 0.5)


def test_levels_by_hand():
    image, mask = volume([[-1000.0, -976, -975, 40, 9999]]), volume([[True, True, True, True, False]])
    assert radiomics.levels(image, mask).tolist() == [[[1, 1, 2, 42, 0]]]
    assert radiomics.levels(image, mask, lowest=-1024).tolist() == [[[1, 2, 2, 43, 0]]]


@pytest.mark.parametrize("size", [(2, 1, 1), (1, 4, 3), (5, 4, 3)])
def test_box_exactly(size):
    # The mesh of a x b x c voxels is the box with its edges bevelled and its corners cut off at half a voxel.
    edges = sum(n - 1 for n in size)
    faces = 2 * sum((size[i] - 1) * (size[j] - 1) for i, j in ((0, 1), (0, 2), (1, 2)))
    found = radiomics.shape(box(*size), ONE_MM)
    assert found["volume by voxels"] == math.prod(size)
    assert found["volume"] == pytest.approx(math.prod(size) - edges / 2 - 5 / 6)
    assert found["surface area"] == pytest.approx(faces + edges * 2 * math.sqrt(2) + math.sqrt(3))
    unbiased = math.prod(size) / (math.prod(size) - 1)
    axes = sorted((4 * math.sqrt((n**2 - 1) / 12 * unbiased) for n in size), reverse=True)
    names = ("major axis length", "minor axis length", "least axis length")
    assert [found[name] for name in names] == pytest.approx(axes, abs=1e-6)


def test_ball():
    found, radius = radiomics.shape(ball(12), ONE_MM), 12
    assert found["volume"] == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.02)
    # A mesh on yes-or-no voxels keeps their stairs, so its area comes out up to a tenth too large.
    assert 1.0 < found["surface area"] / (4 * math.pi * radius**2) < 1.1
    assert 0.9 < found["sphericity"] < 1
    assert found["maximum 3D diameter"] == pytest.approx(2 * radius + 1, rel=0.01)
    assert found["elongation"] == pytest.approx(1) and found["flatness"] == pytest.approx(1)
    assert found["major axis length"] == pytest.approx(4 * radius / math.sqrt(5), rel=0.01)   # of a solid ball


def test_anisotropic_voxels():
    # A ball stretched threefold along the slices and measured with slices a third as thick is the same ball.
    stretched = ball(6).repeat_interleave(3, dim=0)
    found, same = radiomics.shape(stretched, (1 / 3, 1.0, 1.0)), radiomics.shape(ball(6), ONE_MM)
    assert found["volume by voxels"] == pytest.approx(same["volume by voxels"])
    assert found["major axis length"] == pytest.approx(same["major axis length"], rel=0.03)
    assert radiomics.shape(ball(6), (3.0, 1.0, 1.0))["elongation"] == pytest.approx(1 / 3)


def test_same_after_rotation_translation_and_shift(case):
    image, mask = case
    whole = radiomics.features(image, mask, ONE_MM)
    turned = radiomics.features(image.rot90(1, (0, 2)), mask.rot90(1, (0, 2)), ONE_MM)
    moved = radiomics.features(image.roll((1, 2, 1), (0, 1, 2)), mask.roll((1, 2, 1), (0, 1, 2)), ONE_MM)
    assert turned == pytest.approx(whole, rel=1e-6) and moved == pytest.approx(whole, rel=1e-6)
    shifted = radiomics.features(image + 500, mask, ONE_MM)
    changed = {k for k in whole if shifted[k] != pytest.approx(whole[k], rel=1e-4)}
    assert changed == {f"first order: {name}" for name in (
        "mean", "median", "minimum", "maximum", "10th percentile", "90th percentile", "energy", "root mean square")}


def test_scale(case):
    mask = case[1]
    small, large = radiomics.shape(mask, ONE_MM), radiomics.shape(mask, (2.0, 2.0, 2.0))
    power = {"volume": 3, "volume by voxels": 3, "surface area": 2, "surface to volume ratio": -1,
             "maximum 3D diameter": 1, "major axis length": 1, "minor axis length": 1, "least axis length": 1}
    assert large == pytest.approx({k: v * 2 ** power.get(k, 0) for k, v in small.items()}, rel=1e-5)


def test_values_outside_the_mask_do_not_count(case):
    image, mask = case
    assert radiomics.features(image.masked_fill(~mask, math.nan), mask, ONE_MM) == radiomics.features(
        image, mask, ONE_MM)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([2, 3]), st.floats(5, 300))
def test_bounds(seed, dimensions, bin_width):
    generator = torch.Generator().manual_seed(seed)
    image = 100 * torch.randn(3, 5, 6, generator=generator)
    mask = torch.rand(3, 5, 6, generator=generator) < 0.7
    found = radiomics.features(image, mask, (2.0, 1.0, 1.0), bin_width=bin_width, dimensions=dimensions)
    assert all(map(math.isfinite, found.values()))
    assert found["first order: minimum"] <= found["first order: median"] <= found["first order: maximum"]
    assert 0 < found["shape: sphericity"] < 1 and 0 <= found["shape: flatness"] <= found["shape: elongation"] <= 1
    assert -1 - 1e-9 <= found["texture: correlation"] <= 1 + 1e-9
    assert 0 < found["texture: inverse difference"] <= 1 and found["texture: joint entropy"] >= 0
    assert found["texture: contrast"] + found["texture: cluster tendency"] == pytest.approx(
        4 * found["texture: joint variance"])


def cases_of(images, spacing=ONE_MM):
    n = len(images)
    return Cases(images=images, labels=torch.zeros(n, dtype=torch.int64), classes=("a",), patients=torch.arange(n),
                 spacing=spacing)


def test_table_has_a_row_for_each_case(device, generator):
    images = torch.randn(3, 1, 4, 6, 6, generator=generator) * 100
    masks = torch.rand(3, 4, 6, 6, generator=generator) < 0.5
    names, values = radiomics.table(cases_of(images.to(device)), masks.to(device))
    assert values.shape == (3, len(names)) == (3, 42) and values.device.type == "cpu"
    for row, image, mask in zip(values, images[:, 0], masks, strict=True):
        expected = radiomics.features(image, mask, ONE_MM)
        assert tuple(expected) == names
        assert_close(row, torch.tensor(list(expected.values()), dtype=torch.float64))


def test_table_without_mask_takes_the_whole_image_and_has_no_shape(generator):
    images = torch.randn(2, 1, 3, 5, 5, generator=generator)
    names, values = radiomics.table(cases_of(images), bin_width=0.5)
    assert not any(name.startswith("shape") for name in names) and len(names) == 29
    assert values[1, names.index("first order: mean")].item() == pytest.approx(images[1].double().mean().item())


@pytest.mark.parametrize(("change", "message"), [
    ({"mask": torch.zeros(3, 4, 5, dtype=torch.bool)}, "0 voxels"),
    ({"mask": torch.arange(60).view(3, 4, 5) == 7}, "has 1 voxels, but needs 2"),
    ({"mask": torch.ones(3, 4, 5)}, "torch.float32 .*must be torch.bool"),
    ({"mask": torch.ones(4, 5, dtype=torch.bool)}, r"\(4, 5\), but must be torch.bool \(D, H, W\)"),
    ({"mask": torch.ones(3, 4, 6, dtype=torch.bool)}, "they must agree"),
    ({"image": torch.full((3, 4, 5), math.nan)}, "60 values within the mask are NaN"),
    ({"mask": (torch.arange(60) % 59 == 0).view(3, 4, 5)}, "no two voxels .* neighbours"),
    ({"spacing": (1.0, 0.0, 1.0)}, "three positive numbers"),
    ({"spacing": (1.0, 1.0)}, "three positive numbers"),
    ({"bin_width": 0.0}, "bin width is 0.0"),
    ({"lowest": 10.0}, "below lowest = 10"),
    ({"dimensions": 4}, "dimensions is 4"),
])
def test_features_refuse(change, message):
    whole = {"image": torch.arange(60.0).view(3, 4, 5), "mask": torch.ones(3, 4, 5, dtype=torch.bool),
             "spacing": ONE_MM} | change
    with pytest.raises(ValueError, match=message):
        radiomics.features(**whole)


@pytest.mark.parametrize("matrix", [torch.zeros(2, 2), torch.ones(2, 3), torch.tensor([[0, 1], [2, 0]]), torch.ones(4)])
def test_features_of_a_matrix_refuse(matrix):
    with pytest.raises(ValueError, match="square and symmetric|counts no pair"):
        radiomics.glcm_features(matrix)


@pytest.mark.parametrize("levels", [torch.ones(4, 4, dtype=torch.int64), volume([[1, -1]])])
def test_cooccurrence_refuses(levels):
    with pytest.raises(ValueError, match="from 0 .outside. up"):
        radiomics.cooccurrence(levels)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_more_levels_than_can_be_counted_are_refused(dimensions):
    with pytest.raises(ValueError, match="there are 65538 grey levels.*take wider bins"):
        radiomics.cooccurrence(volume([[1, 65538], [1, 65538]]), dimensions)


def test_table_refuses(generator):
    images = torch.randn(2, 1, 3, 4, 4, generator=generator)
    masks = torch.ones(2, 3, 4, 4, dtype=torch.bool)
    masks[1] = False
    with pytest.raises(ValueError, match="case 1: the mask has 0 voxels"):
        radiomics.table(cases_of(images), masks)
    with pytest.raises(ValueError, match="1 masks, but 2 images"):
        radiomics.table(cases_of(images), masks[:1])
    for wrong in (cases_of(images, None), cases_of(images[:, 0], (1.0, 1.0)), cases_of(images[:0])):
        with pytest.raises(ValueError, match="with a spacing in mm"):
            radiomics.table(wrong)
