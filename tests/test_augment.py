"""Augmentation: exact where nothing is interpolated, image, masks and boxes together, as drawn and nothing else."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchvision.ops import masks_to_boxes
from torchvision.transforms.v2 import functional as tv

from companion.datasets.augment import Augmentation, Ranges, apply, apply_to_cases, draw
from companion.datasets.cases import Cases

ALL = Ranges(shift=3, rotation=20, scale=1.2, flip=(-1, -2), erase=0.5, brightness=0.2, contrast=1.3, noise=0.1)
SIZES = [(7, 10), (5, 7, 10)]


def noise(n, *shape, seed=1, device="cpu"):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed)).to(device)


def fixed(n, size, **changes) -> Augmentation:
    """An augmentation that changes nothing but what is given."""
    drawn = draw(n, size, Ranges(), torch.Generator().manual_seed(0))
    for name, value in changes.items():
        value = torch.as_tensor(value, dtype=getattr(drawn, name).dtype)
        drawn = replace(drawn, **{name: value.expand(getattr(drawn, name).shape).clone()})
    return drawn


def shifted(images, shift, fill):
    """What torch.roll does, with the fill where it wraps round."""
    axes = tuple(range(-len(shift), 0))
    rolled = images.roll(shift, axes)
    for axis, step in zip(axes, shift, strict=True):
        gone = slice(0, step) if step >= 0 else slice(images.shape[axis] + step, None)
        rolled.movedim(axis, 0)[gone] = fill
    return rolled


# Exact

@pytest.mark.parametrize("size", SIZES)
def test_nothing_drawn_changes_no_bit(device, size):
    images = noise(4, 2, *size, device=device) * 1000
    assert torch.equal(apply(images, draw(4, size, Ranges(), torch.Generator().manual_seed(3))), images)


@pytest.mark.parametrize("fill", [0.0, -1000.0])
@pytest.mark.parametrize(("size", "shift"), [((7, 10), (2, -3)), ((7, 10), (-6, 0)), ((5, 7, 10), (-1, 2, 9))])
def test_a_shift_by_whole_pixels_is_roll_with_fill(device, size, shift, fill):
    images = noise(3, 2, *size, device=device)
    assert torch.equal(apply(images, fixed(3, size, shift=shift), fill), shifted(images, shift, fill))


def test_without_a_fill_the_outside_is_the_lowest_value_of_each_image(device):
    images = noise(3, 1, 4, 5, device=device) + torch.tensor([0.0, 50, 100], device=device).view(3, 1, 1, 1)
    moved = apply(images, fixed(3, (4, 5), shift=(2, 0)))
    for image, result in zip(images, moved, strict=True):
        assert torch.equal(result[:, :2], image.min().expand(1, 2, 5))


@pytest.mark.parametrize("size", [(6, 6), (7, 7), (7, 9), (3, 6, 6)])
def test_quarter_turns_are_rot90(device, size):
    images = noise(4, 2, *size, device=device)
    moved = apply(images, fixed(4, size, rotation=[0.0, 90, 180, -90]))
    for turns, (image, result) in enumerate(zip(images, moved, strict=True)):
        turned = image.rot90(turns, (-2, -1))
        if turned.shape == result.shape:
            torch.testing.assert_close(result, turned, rtol=0, atol=1e-5)
        else:                                    # 7 x 9: the middle 7 x 7 is what both show
            torch.testing.assert_close(result[..., 1:8], turned[..., 1:8, :], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "axis"), [((7, 10), -1), ((7, 10), -2), ((4, 7, 10), -3), ((4, 7, 10), -1)])
def test_flips_are_flip(device, size, axis):
    images, flip = noise(2, 1, *size, device=device), torch.zeros(2, len(size), dtype=torch.bool)
    flip[0, axis] = True
    moved = apply(images, fixed(2, size, flip=flip))
    assert torch.equal(moved[0], images[0].flip(axis)) and torch.equal(moved[1], images[1])


@pytest.mark.parametrize(("size", "crop"), [((7, 10), (7, 4)), ((7, 10), (3, 10)), ((4, 7, 10), (2, 3, 10))])
def test_a_crop_is_a_window_of_the_image_anywhere_in_it(device, size, crop):
    images = noise(200, 1, *size, device=device)
    drawn = draw(200, size, Ranges(crop=crop), torch.Generator().manual_seed(0))
    moved = apply(images, drawn)
    for image, corner, result in zip(images, drawn.corner.tolist(), moved, strict=True):
        window = tuple(slice(c, c + kept) for c, kept in zip(corner, crop, strict=True))
        assert torch.equal(result, image[(slice(None), *window)])
    for axis, room in enumerate(whole - kept for whole, kept in zip(size, crop, strict=True)):
        assert set(drawn.corner[:, axis].tolist()) == set(range(room + 1))


# Interpolated

@settings(deadline=None, derandomize=True, max_examples=30)
@given(angle=st.floats(-180, 180), scale=st.floats(0.5, 2), x=st.integers(-4, 4), y=st.integers(-4, 4))
def test_rotation_scale_and_shift_agree_with_torchvision(angle, scale, x, y):
    """torchvision turns clockwise and names x first."""
    images = noise(1, 1, 12, 15)
    ours = apply(images, fixed(1, (12, 15), rotation=angle, scale=scale, shift=(y, x)), fill=0.0)
    theirs = tv.affine(images, -angle, [x, y], scale, [0, 0], tv.InterpolationMode.BILINEAR)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_a_shift_by_half_a_pixel_is_the_mean_of_neighbours(device):
    images = noise(1, 1, 4, 5, device=device)
    moved = apply(images, fixed(1, (4, 5), shift=(0, 0.5)), fill=2.0)
    torch.testing.assert_close(moved[..., 1:], (images[..., 1:] + images[..., :-1]) / 2, rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[..., 0], (images[..., 0] + 2) / 2, rtol=0, atol=1e-5)


def test_the_order_is_scale_rotate_flip_shift_crop():
    """A bright pixel one to the right of the middle of 9 x 9, by hand."""
    images = torch.zeros(1, 1, 9, 9)
    images[..., 4, 5] = 1
    drawn = replace(fixed(1, (9, 9), scale=2.0, rotation=90.0, flip=[False, True], shift=(1.0, 2.0), corner=(0, 1)),
                    crop=(5, 8))  # scaled: 2 right; rotated: 2 up; flipped left and right: 2 up; shifted; cropped
    assert apply(images, drawn)[0, 0].argmax() == (4 - 2 + 1) * 8 + (4 + 2 - 1)


def test_volumes_turn_in_the_plane_of_rows_and_columns():
    volume, slices = noise(1, 1, 3, 8, 8), None
    moved = apply(volume, fixed(1, (3, 8, 8), rotation=30.0), fill=0.0)
    slices = apply(volume[0].movedim(1, 0), fixed(3, (8, 8), rotation=30.0), fill=0.0)
    torch.testing.assert_close(moved[0].movedim(1, 0), slices, rtol=0, atol=1e-5)


# Image, mask and box together

def cases_with(boxes, size, device="cpu") -> Cases:
    """One image for each box (x0, y0, x1, y1), or with z, in integers: bright, masked and boxed there."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    axes = len(size)
    for mask, box in zip(masks, boxes, strict=True):
        mask[tuple(slice(box[axes - 1 - i], box[2 * axes - 1 - i]) for i in range(axes))] = True
    return Cases(masks.float()[:, None] * 100, torch.zeros(len(boxes)).long(), ("a",), torch.arange(len(boxes)),
                 masks={"lesion": masks, "none": torch.zeros_like(masks)}, parameters="drawn", unit="HU",
                 boxes=[torch.tensor([box], dtype=torch.float32) for box in boxes],
                 box_labels=[torch.tensor([7])] * len(boxes)).to(device)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(x=st.integers(8, 24), y=st.integers(8, 18), w=st.integers(4, 10), h=st.integers(4, 10), seed=st.integers(0, 999),
       reach=st.sampled_from([(0, 1), (180, 1.5)]))
def test_the_box_is_the_box_of_the_mask_and_the_mask_is_where_the_image_is(x, y, w, h, seed, reach):
    """Within a pixel; within 1.5 where the lesion is turned, since its tips cover less than half of a pixel."""
    rotation, tolerance = reach
    cases = cases_with([(x, y, x + w, y + h)], (32, 40))
    ranges = Ranges(shift=4, rotation=rotation, scale=1.2, flip=(-1, -2), crop=(28, 30))
    moved = apply_to_cases(cases, draw(1, (32, 40), ranges, torch.Generator().manual_seed(seed)), fill=0.0)
    mask, found = moved.masks["lesion"], moved.boxes[0]
    assert torch.equal(mask, moved.images[:, 0] > 50) and not moved.masks["none"].any()
    uncut = len(found) and 0 < found.min() and (found[0, 2:] < torch.tensor([30, 28])).all()
    assume(uncut or not rotation)  # a turned lesion that the border cuts keeps the box of its corners, clipped
    if mask.any():
        box = masks_to_boxes(mask)[0] + torch.tensor([0, 0, 1, 1])  # torchvision's upper edge is inclusive here
        assert (found[0] - box).abs().max() <= tolerance
    else:
        assert not len(found) or (found[0, 2:] - found[0, :2]).min() <= tolerance


@pytest.mark.parametrize(("size", "boxes"), [((10, 12), [(2, 3, 6, 9), (0, 0, 12, 10)]),
                                             ((5, 10, 12), [(2, 3, 1, 6, 9, 4), (0, 0, 0, 1, 1, 1)])])
def test_nothing_drawn_leaves_cases_as_they_are(device, size, boxes):
    cases = cases_with(boxes, size, device)
    moved = apply_to_cases(cases, fixed(2, size))
    assert torch.equal(moved.images, cases.images) and torch.equal(moved.masks["lesion"], cases.masks["lesion"])
    for box, label, before in zip(moved.boxes, moved.box_labels, cases.boxes, strict=True):
        assert torch.equal(box, before) and label.tolist() == [7]
    assert (moved.unit, moved.parameters) == ("HU", None) and torch.equal(moved.labels, cases.labels)


def test_boxes_by_hand(device):
    cases = cases_with([(2, 3, 6, 9)] * 5, (10, 12), device)
    drawn = fixed(5, (10, 12), flip=[[False, True]] + [[False] * 2] * 4, rotation=[0.0, 0, 90, 0, 0],
                  shift=[[0.0, 0], [-5, 2], [0, 0], [0, 8], [0, 0]], scale=[1.0, 1, 1, 1, 0.5])
    moved = apply_to_cases(cases, drawn)
    expected = [[6, 3, 10, 9], [4, 0, 8, 4], [4, 5, 10, 9], [10, 3, 12, 9], [4, 4, 6, 7]]
    for box, wanted in zip(moved.boxes, expected, strict=True):
        torch.testing.assert_close(box, torch.tensor([wanted], dtype=torch.float32, device=device))


def test_boxes_of_volumes_by_hand():
    cases = cases_with([(2, 3, 1, 6, 9, 4)], (5, 10, 12))
    moved = apply_to_cases(cases, fixed(1, (5, 10, 12), shift=(1.0, 0, -3), flip=(True, False, False)))
    assert moved.boxes[0].tolist() == [[0, 3, 2, 3, 9, 5]]
    assert moved.masks["lesion"].nonzero().amin(0).tolist() == [0, 2, 3, 0]
    assert moved.masks["lesion"].nonzero().amax(0).tolist() == [0, 4, 8, 2]


def test_a_box_that_leaves_the_image_is_dropped_with_its_label():
    cases = replace(cases_with([(0, 0, 4, 4), (0, 0, 4, 4)], (10, 10)), boxes=[
        torch.tensor([[0, 0, 4, 4], [6, 6, 9, 9]]), torch.zeros(0, 4)],
        box_labels=[torch.tensor([1, 2]), torch.zeros(0).long()])
    moved = apply_to_cases(cases, fixed(2, (10, 10), shift=(4.0, 4.0)))
    assert moved.boxes[0].tolist() == [[4, 4, 8, 8]] and moved.box_labels[0].tolist() == [1]
    assert moved.boxes[0].dtype == torch.float32 and moved.boxes[1].shape == (0, 4)


def test_a_box_covers_its_turned_lesion():
    moved = apply_to_cases(cases_with([(10, 10, 20, 20)], (30, 30)), fixed(1, (30, 30), rotation=45.0))
    half = 5 * 2 ** 0.5
    torch.testing.assert_close(moved.boxes[0], torch.tensor([[15 - half, 15 - half, 15 + half, 15 + half]]))


def test_cases_without_masks_and_boxes(generator):
    cases = Cases(noise(3, 1, 7, 10), torch.zeros(3).long(), ("a",), torch.arange(3))
    moved = apply_to_cases(cases, draw(3, (7, 10), ALL, generator))
    assert moved.boxes is None and moved.box_labels is None and not moved.masks and len(moved) == 3


# Grey levels

def test_contrast_and_brightness_by_hand(device):
    images = torch.tensor([[0.0, 4], [8, 8]], device=device).expand(2, 1, 2, 2)
    moved = apply(images, fixed(2, (2, 2), contrast=[2.0, 0.5], brightness=[10.0, -1]))
    assert moved.flatten(1).tolist() == [[5, 13, 21, 21], [1.5, 3.5, 5.5, 5.5]]


def test_noise_has_the_standard_deviation_drawn(device):
    images = torch.full((2, 1, 200, 200), 7.0, device=device)
    moved = apply(images, fixed(2, (200, 200), noise=[0.0, 3.0]))
    assert torch.equal(moved[0], images[0])
    assert moved[1].std().item() == pytest.approx(3, rel=0.02) and moved[1].mean().item() == pytest.approx(7, abs=0.1)


@pytest.mark.parametrize(("size", "box"), [((6, 8), [[1, 2], [4, 7]]), ((3, 6, 8), [[0, 1, 2], [2, 4, 7]])])
def test_an_erased_box_holds_noise_and_nothing_else_changes(device, size, box):
    images = noise(2, 1, *size, device=device)
    moved = apply(images, fixed(2, size, erase=[box, [[0] * len(size)] * 2]))
    changed = torch.zeros(size, dtype=torch.bool, device=device)
    changed[tuple(map(slice, *box))] = True
    assert torch.equal(moved[0, 0] != images[0, 0], changed) and torch.equal(moved[1], images[1])
    assert moved[0].min() >= images[0].min() and moved[0].max() <= images[0].max()


@pytest.mark.parametrize("size", [(40, 60), (20, 40, 60)])
def test_erased_boxes_are_as_in_the_paper(generator, size):
    boxes = draw(2000, size, Ranges(erase=0.5), generator).erase
    sides = (boxes[:, 1] - boxes[:, 0])[boxes[:, 1].any(1)]
    assert 900 < len(sides) < 1100 and (boxes >= 0).all() and (boxes[:, 1] <= torch.tensor(size)).all()
    share = sides.prod(1) / torch.tensor(size).prod()
    assert 0.015 < share.min() < 0.03 and 0.3 < share.max() < 0.42  # 2 to 40 %, but for rounding to pixels
    aspect = sides[:, -2] / sides[:, -1]
    assert 0.25 < aspect.min() < 0.4 and 2.5 < aspect.max() < 4
    everywhere = draw(500, size, Ranges(erase=1.0), generator).erase
    assert everywhere[:, 1].all() and not draw(500, size, Ranges(), generator).erase.any()


# Draws

@pytest.mark.parametrize("size", SIZES)
def test_the_seed_decides_everything(device, size):
    images = noise(8, 1, *size, device=device)
    one, same, other = (draw(8, size, ALL, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert one.seed == same.seed != other.seed
    assert torch.equal(apply(images, one), apply(images, same))
    assert torch.equal(apply(images, one), apply(images, one))
    assert not torch.equal(apply(images, one), apply(images, other))


def test_applying_draws_nothing_from_the_global_stream():
    before = torch.get_rng_state()
    apply(noise(8, 1, 7, 10), draw(8, (7, 10), ALL, torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_fill_their_ranges_and_go_both_ways(generator):
    drawn = draw(2000, (7, 10), replace(ALL, shift=3), generator)
    for name, low, high in (("shift", -3, 3), ("rotation", -20, 20), ("scale", 1 / 1.2, 1.2), ("noise", 0, 0.1),
                            ("brightness", -0.2, 0.2), ("contrast", 1 / 1.3, 1.3)):
        values, reach = getattr(drawn, name), high - low
        assert low <= values.min() < low + 0.01 * reach and high - 0.01 * reach < values.max() <= high, name
        middle = (low * high) ** 0.5 if name in ("scale", "contrast") else (low + high) / 2
        assert values.median().item() == pytest.approx(middle, abs=0.05 * reach), name
    assert drawn.flip.double().mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_nothing_is_on_by_default_left_right_flips_least_of_all(generator):
    drawn = draw(100, (7, 10), Ranges(), generator)
    assert not drawn.flip.any() and not drawn.shift.any() and not drawn.rotation.any() and not drawn.noise.any()
    assert (drawn.scale == 1).all() and (drawn.contrast == 1).all()
    assert not draw(100, (7, 10), Ranges(flip=(-2,)), generator).flip[:, 1].any()


def test_a_draw_serves_any_device(device):
    drawn = draw(3, (7, 10), ALL, torch.Generator(device).manual_seed(0))
    assert len(drawn) == 3 and apply(noise(3, 1, 7, 10, device=device), drawn).device.type == device.type


@pytest.mark.parametrize(("size", "ranges", "says"), [
    ((7,), Ranges(), r"size is \(7,\), but must be \(rows, columns\)"),
    ((7, 10), Ranges(crop=(8, 10)), r"crop is \(8, 10\), but must lie within the image, \(7, 10\)"),
    ((7, 10), Ranges(crop=(3, 3, 3)), "crop is"),
    ((7, 10), Ranges(flip=(1,)), r"flip is \(1,\), but must name axes from -2 to -1"),
    ((7, 10), Ranges(flip=(-3,)), "flip is"),
    ((7, 10), Ranges(scale=0.9), "scale is 0.9, but must lie in 1 to inf"),
    ((7, 10), Ranges(contrast=0.0), "contrast is"),
    ((7, 10), Ranges(erase=1.5), "erase is 1.5, but must lie in 0 to 1"),
    ((7, 10), Ranges(shift=-1), "shift is -1"),
    ((7, 10), Ranges(rotation=float("nan")), "rotation is nan"),
])
def test_ranges_that_make_no_sense_are_refused(size, ranges, says, generator):
    with pytest.raises(ValueError, match=says):
        draw(3, size, ranges, generator)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_changes_no_value_of_pixels_that_only_move(kind, generator):
    images = torch.rand(2, 1, 256, 250, generator=generator).to(kind)
    assert torch.equal(apply(images, draw(2, (256, 250), Ranges(), generator)), images)


def test_whole_numbers_are_refused(generator):
    with pytest.raises(ValueError, match=r"images are torch.uint8, but must be floating-point"):
        apply(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), draw(1, (4, 4), Ranges(), generator))


def test_images_must_be_those_drawn_for(generator):
    drawn = draw(3, (7, 10), Ranges(), generator)
    for shape in ((2, 1, 7, 10), (3, 1, 10, 7), (3, 1, 4, 7, 10)):
        with pytest.raises(ValueError, match=r"drawn for 3 images of \(7, 10\) pixels, but there are"):
            apply(torch.zeros(shape), drawn)
