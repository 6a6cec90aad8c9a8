"""companion.convolution: by hand, against torch, and by its invariants."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from companion import convolution
from companion.convolution import convolve, output_size, windows

TORCH_CONVOLUTION = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TORCH_MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
TORCH_AVERAGE_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
GRID = settings(deadline=None, derandomize=True, max_examples=150)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def layouts(draw):
    """Spatial shape, kernel, stride, padding and dilation, each per axis, such that the kernel fits."""
    axes = draw(st.integers(1, 3))

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    size, stride, padding, dilation = per_axis(1, 3), per_axis(1, 3), per_axis(0, 2), per_axis(1, 2)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, size, padding, strict=True)]
    return [n + draw(st.integers(0, 4)) for n in least], size, stride, padding, dilation


# Output size


def test_output_size_by_hand():
    assert output_size(28, 3) == 26                                   # Fig. 3 of the review
    assert output_size(5, 3, padding=1) == 5                          # Fig. 4 of the review
    assert output_size(7, 3, stride=2) == 3                           # starts at 0, 2, 4
    assert output_size(8, 3, stride=2) == 3                           # the last column is never seen
    assert output_size(7, 3, dilation=3) == 1                         # spans 0, 3, 6
    assert output_size(1, 1) == 1


@GRID
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_output_size_is_torchs(size, kernel, stride, padding, dilation):
    x, k = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
    if dilation * (kernel - 1) + 1 > size + 2 * padding:
        with pytest.raises(ValueError, match="use a smaller kernel or dilation, more padding or a larger input"):
            output_size(size, kernel, stride, padding, dilation)
    else:
        expected = F.conv1d(x, k, stride=stride, padding=padding, dilation=dilation).shape[-1]
        assert output_size(size, kernel, stride, padding, dilation) == expected


@pytest.mark.parametrize(("name", "value", "least"), [("size", 0, 1), ("kernel", 0, 1), ("stride", 0, 1),
                                                      ("padding", -1, 0), ("dilation", 0, 1)])
def test_output_size_refuses(name, value, least):
    with pytest.raises(ValueError, match=f"^{name} is {value}, but must be at least {least}$"):
        output_size(**({"size": 5, "kernel": 3} | {name: value}))


def test_output_size_says_by_how_much_the_kernel_is_too_large():
    with pytest.raises(ValueError, match="the kernel spans 5 pixels, but the padded input has only 4"):
        output_size(2, 3, padding=1, dilation=2)


# Windows


def test_windows_by_hand():
    x = torch.arange(1, 7).view(1, 1, 6)
    assert windows(x, 3).tolist() == [[[[1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]]]]
    assert windows(x, 3, stride=2).tolist() == [[[[1, 2, 3], [3, 4, 5]]]]
    assert windows(x, 3, dilation=2).tolist() == [[[[1, 3, 5], [2, 4, 6]]]]
    assert windows(x, 2, stride=4, padding=1, fill=9).tolist() == [[[[9, 1], [4, 5]]]]


def test_windows_have_one_number_per_axis():
    x = torch.arange(12).view(1, 1, 3, 4)
    found = windows(x, (2, 3), stride=(1, 2), padding=(0, 1))
    assert found.shape == (1, 1, 2, 2, 2, 3)
    assert found[0, 0, 1, 0].tolist() == [[0, 4, 5], [0, 8, 9]]


def test_windows_without_padding_are_a_view():
    x = draw(1, 1, 6, 6)
    assert windows(x, 3).data_ptr() == x.data_ptr()
    assert windows(x, 3, padding=1).data_ptr() != x.data_ptr()


@pytest.mark.parametrize("shape", [(5,), (5, 5), (1, 1, 2, 2, 2, 2)])
def test_windows_refuse_other_shapes(shape):
    with pytest.raises(ValueError, match=r"the input has shape .* add the axes N and C with image\[None, None\]"):
        windows(torch.zeros(shape), 1)


def test_windows_refuse_a_wrong_number_of_axes():
    with pytest.raises(ValueError, match=r"\(1, 2, 3\) has 3 numbers, but the input has 2 spatial axes"):
        windows(torch.zeros(1, 1, 5, 5), 3, stride=(1, 2, 3))


def test_windows_refuse_a_kernel_that_does_not_fit():
    with pytest.raises(ValueError, match="the kernel spans 3 pixels, but the padded input has only 2"):
        windows(torch.zeros(1, 1, 5, 2), 3)


# Convolution


def test_convolve_by_hand():
    image = torch.tensor([[1, 2, 0], [0, 1, 3], [2, 1, 0]])[None, None]
    kernel = torch.tensor([[1, 0], [2, -1]])[None, None]
    assert convolve(image, kernel).tolist() == [[[[1 + 0 - 1, 2 + 2 - 3], [0 + 4 - 1, 1 + 2 - 0]]]]
    assert convolve(image, kernel, bias=torch.tensor([10])).tolist() == [[[[10, 11], [13, 13]]]]


def test_convolve_sums_over_channels_and_each_kernel_makes_a_map():
    image = torch.tensor([[[1, 2]], [[10, 20]]])[None]                             # (1, 2, 1, 2)
    kernels = torch.tensor([[[[1]], [[1]]], [[[1]], [[-1]]], [[[0]], [[2]]]])      # (3, 2, 1, 1)
    assert convolve(image, kernels).tolist() == [[[[11, 22]], [[-9, -18]], [[20, 40]]]]


def test_the_kernel_is_not_flipped():
    pulse = torch.tensor([[[0, 0, 1, 0, 0]]])
    assert convolve(pulse, torch.tensor([[[1, 2, 3]]])).tolist() == [[[3, 2, 1]]]


@GRID
@given(layouts(), st.integers(1, 2), st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_convolve_is_torchs(layout, batch, channels, kernels, with_bias):
    spatial, size, stride, padding, dilation = layout
    x, k = draw(batch, channels, *spatial), draw(kernels, channels, *size, seed=1)
    bias = draw(kernels, seed=2) if with_bias else None
    expected = TORCH_CONVOLUTION[len(size)](x, k, bias, stride, padding, dilation)
    torch.testing.assert_close(convolve(x, k, bias, stride, padding, dilation), expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_convolve_on_the_device(axes, device):
    x, k, bias = (t.to(device) for t in (draw(2, 3, *[7] * axes), draw(4, 3, *[3] * axes, seed=1), draw(4, seed=2)))
    maps = convolve(x, k, bias, stride=2, padding=1)
    assert maps.device.type == device.type
    torch.testing.assert_close(maps, TORCH_CONVOLUTION[axes](x, k, bias, stride=2, padding=1))


@GRID
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_whole_numbers_are_exact(seed, stride):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-99, 100, (2, 3, 6, 7), generator=generator)
    k = torch.randint(-9, 10, (2, 3, 3, 3), generator=generator)
    assert torch.equal(convolve(x, k, stride=stride, padding=1), F.conv2d(x, k, stride=stride, padding=1))


def test_a_stride_takes_every_nth_value():
    x, k = draw(1, 2, 9, 11), draw(3, 2, 3, 3, seed=1)
    assert torch.equal(convolve(x, k, stride=(2, 3)), convolve(x, k)[:, :, ::2, ::3])


def test_a_shift_of_the_input_shifts_the_map():
    x, k = draw(1, 1, 8, 9), draw(1, 1, 3, 3, seed=1)
    moved = F.pad(x, (2, 0, 1, 0))                                                 # 2 columns right, 1 row down
    torch.testing.assert_close(convolve(moved, k)[..., 1:, 2:], convolve(x, k))


def test_convolve_gradients(device):
    tensors = (draw(1, 2, 5, 4), draw(2, 2, 3, 2, seed=1), draw(2, seed=2))
    x, k, bias = (t.to(device).requires_grad_() for t in tensors)
    assert torch.autograd.gradcheck(lambda *t: convolve(*t, stride=2, padding=1), (x, k, bias))


@pytest.mark.parametrize("kernel", [(1, 2, 3, 3), (1, 3, 3), (3, 3)])
def test_convolve_refuses_other_axes_or_channels(kernel):
    with pytest.raises(ValueError, match="both need the same number of axes and of channels"):
        convolve(torch.zeros(1, 3, 5, 5), torch.zeros(kernel))


@pytest.mark.parametrize("shape", [(5,), (5, 5)])
def test_convolve_refuses_a_bare_image(shape):
    with pytest.raises(ValueError, match=r"add the axes N and C with image\[None, None\]"):
        convolve(torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1), ()])
def test_convolve_refuses_a_bias_of_another_length(shape):
    with pytest.raises(ValueError, match=r"the bias has shape .* but must be \(2,\): one number for each kernel"):
        convolve(torch.zeros(1, 1, 5, 5), torch.zeros(2, 1, 3, 3), torch.zeros(shape))


# Pooling


def test_pooling_by_hand():
    x = torch.tensor([[1.0, 2, 5, 6], [3, 0, 7, 8], [9, 9, -4, -4], [9, 9, -4, 0]])[None, None]
    assert convolution.max_pool(x, 2).tolist() == [[[[3, 8], [9, 0]]]]
    assert convolution.average_pool(x, 2).tolist() == [[[[1.5, 6.5], [9, -3]]]]
    assert convolution.global_average_pool(x).tolist() == [[[[x.mean().item()]]]]


@GRID
@given(layouts())
def test_pooling_is_torchs(layout):
    spatial, size, stride, padding, _ = layout
    axes, padding = len(size), tuple(min(p, k // 2) for p, k in zip(padding, size, strict=True))
    x = draw(2, 3, *[n + 3 for n in spatial])
    expected = TORCH_MAX_POOL[axes](x, size, stride, padding)
    assert torch.equal(convolution.max_pool(x, size, stride, padding), expected)
    torch.testing.assert_close(convolution.average_pool(x, size, stride), TORCH_AVERAGE_POOL[axes](x, size, stride))
    assert torch.equal(convolution.max_pool(x, size), TORCH_MAX_POOL[axes](x, size))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_pooling_on_the_device(axes, device):
    x = draw(2, 3, *[6] * axes).to(device)
    assert torch.equal(convolution.max_pool(x, 2), TORCH_MAX_POOL[axes](x, 2))
    torch.testing.assert_close(convolution.average_pool(x, 3), TORCH_AVERAGE_POOL[axes](x, 3))
    adaptive = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[axes](x, 1)
    torch.testing.assert_close(convolution.global_average_pool(x), adaptive)


def test_padding_is_never_the_maximum():
    x = torch.tensor([[[-5.0, -7.0]]])
    assert convolution.max_pool(x, 2, padding=1).tolist() == [[[-5, -7]]]
    assert convolution.max_pool(x.long(), 2, padding=1).tolist() == [[[-5, -7]]]


def test_pooling_gradients():
    x = draw(1, 2, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: convolution.max_pool(x, 2, padding=1), x)
    assert torch.autograd.gradcheck(lambda x: convolution.average_pool(x, 2), x)
    assert torch.autograd.gradcheck(convolution.global_average_pool, x)


def test_equal_maxima_share_the_gradient():
    x = torch.tensor([[[4.0, 4.0, 1.0]]], requires_grad=True)
    convolution.max_pool(x, 3).sum().backward()
    assert x.grad.tolist() == [[[0.5, 0.5, 0]]]


def test_max_pool_refuses_more_padding_than_half_of_the_size():
    with pytest.raises(ValueError, match="the padding is 2, but must be at most half of the size, which is 3"):
        convolution.max_pool(torch.zeros(1, 1, 5, 5), 3, padding=2)


# Convolution as a matrix


def test_convolution_matrix_by_hand():
    matrix = convolution.convolution_matrix(torch.tensor([[1, 2], [3, 4]]), 2, 3)
    assert matrix.tolist() == [[1, 2, 0, 3, 4, 0], [0, 1, 2, 0, 3, 4]]


@GRID
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 3), st.integers(0, 3))
def test_convolution_matrix_is_the_convolution(h, w, more_rows, more_columns):
    kernel, image = draw(h, w), draw(h + more_rows, w + more_columns, seed=1)
    matrix = convolution.convolution_matrix(kernel, *image.shape)
    torch.testing.assert_close(matrix @ image.flatten(), convolve(image[None, None], kernel[None, None]).flatten())


def test_convolution_matrix_is_doubly_toeplitz(device):
    kernel, (height, width) = draw(3, 2).to(device), (6, 5)
    blocks = convolution.convolution_matrix(kernel, height, width).view(height - 2, width - 1, height, width)
    assert torch.equal(blocks[1:, :, 1:], blocks[:-1, :, :-1])                     # one row further down
    assert torch.equal(blocks[:, 1:, :, 1:], blocks[:, :-1, :, :-1])               # one column further right
    assert (blocks != 0).sum(dim=(2, 3)).eq(kernel.numel()).all()                  # all else is zero


# Field of view


def test_field_of_view_by_hand():
    assert convolution.field_of_view([]) == (1, 1)
    assert convolution.field_of_view([(3, 1)]) == (3, 1)
    assert convolution.field_of_view([(3, 1), (3, 1)]) == (5, 1)                   # as one 5 x 5 kernel
    assert convolution.field_of_view([(3, 1), (2, 2), (3, 1)]) == (8, 2)           # 3, then 4, then 4 + 2 * 2
    assert convolution.field_of_view([(3, 1, 2)]) == (5, 1)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)), min_size=1, max_size=3))
def test_field_of_view_is_the_support_of_the_gradient(layers):
    side, step = convolution.field_of_view(layers)
    network = nn.Sequential(*(nn.Conv2d(1, 1, k, s, dilation=d, dtype=torch.float64) for k, s, d in layers))
    for layer in network:
        nn.init.uniform_(layer.weight, 0.5, 1)                                     # positive: nothing cancels
    seen = convolution.gradient_support(network, draw(1, 1, side + 2 * step, side + step), 2, 1).nonzero()
    first, last = seen.min(dim=0).values.tolist(), seen.max(dim=0).values.tolist()
    assert first == [2 * step, step]
    assert last == [2 * step + side - 1, step + side - 1]


def test_gradient_support_by_hand(device):
    network = nn.Conv2d(2, 3, 3, padding=1).to(device)
    x = torch.ones(1, 2, 4, 5, device=device)
    seen = convolution.gradient_support(network, x, 0, 4)
    assert seen.tolist() == [[False] * 3 + [True] * 2] * 2 + [[False] * 5] * 2     # the corner: the rest lies outside
    assert not x.requires_grad
    assert all(p.grad is None for p in network.parameters())
