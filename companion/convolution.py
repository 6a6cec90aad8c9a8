"""Convolution and pooling from their definitions, and what follows from them: output size and field of view.

Everything rests on one function, ``windows``: the view of a tensor as all the patches that a kernel visits. A
convolution is then a sum of products over each window, max pooling its maximum, average pooling its mean. The
functions work in one, two or three dimensions, on any device, and give gradients. Book: Part 1.

Like every deep-learning library, we call *convolution* what mathematics calls cross-correlation: the kernel is not
flipped (Dumoulin and Visin, 2016).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Size = int | Sequence[int]


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Number of kernel positions along one axis: floor((size + 2 padding - extent) / stride) + 1.

    ``extent = dilation (kernel - 1) + 1`` is the length that the kernel spans. All values in pixels.

    Raises:
        ValueError: where a value is out of range or the kernel does not fit into the padded input.
    """
    for name, value, least in (("size", size, 1), ("kernel", kernel, 1), ("stride", stride, 1),
                               ("padding", padding, 0), ("dilation", dilation, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}, but must be at least {least}")
    extent = dilation * (kernel - 1) + 1
    if extent > size + 2 * padding:
        raise ValueError(f"the kernel spans {extent} pixels, but the padded input has only {size + 2 * padding}: "
                         "use a smaller kernel or dilation, more padding or a larger input")
    return (size + 2 * padding - extent) // stride + 1


def windows(x: Tensor, size: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1,
            fill: float = 0.0) -> Tensor:
    """Every patch of ``x`` that a kernel of the given size visits; without padding a view of ``x``, not a copy.

    Args:
        x: input of shape (N, C, \\*spatial) with one to three spatial axes.
        size, stride, padding, dilation: one number for all spatial axes, or one for each.
        fill: value of the padding.

    Returns:
        Tensor of shape (N, C, \\*output, \\*size).

    Raises:
        ValueError: where ``x`` has no or more than three spatial axes, or the kernel does not fit.
    """
    axes = _spatial_axes(x)
    size, stride, padding, dilation = (_per_axis(v, axes) for v in (size, stride, padding, dilation))
    for a in range(axes):
        output_size(x.shape[2 + a], size[a], stride[a], padding[a], dilation[a])     # raises where it does not fit
    if any(padding):
        x = F.pad(x, [p for pad in reversed(padding) for p in (pad, pad)], value=fill)
    for a in range(axes):
        x = x.unfold(2 + a, dilation[a] * (size[a] - 1) + 1, stride[a])              # appends the patch axis
    return x[(..., *(slice(None, None, d) for d in dilation))]


def convolve(x: Tensor, kernel: Tensor, bias: Tensor | None = None, stride: Size = 1, padding: Size = 0,
             dilation: Size = 1) -> Tensor:
    """Sum of the element-wise product of each kernel with the input under it, at every position.

    Args:
        x: input (N, C, \\*spatial).
        kernel: kernels (K, C, \\*size); their number K is the depth of the output.
        bias: one number added per kernel (K,), or none.
        stride, padding, dilation: one number for all spatial axes, or one for each; the padding is zeros.

    Returns:
        Feature maps (N, K, \\*output).

    Raises:
        ValueError: as ``windows``, and where input and kernel differ in their axes or channels, or the bias does not
            hold one number per kernel.
    """
    axes = _spatial_axes(x)
    if kernel.dim() != x.dim() or kernel.shape[1] != x.shape[1]:
        raise ValueError(f"the kernel has shape {tuple(kernel.shape)} and the input {tuple(x.shape)}: "
                         "both need the same number of axes and of channels (second axis)")
    if bias is not None and bias.shape != kernel.shape[:1]:
        raise ValueError(f"the bias has shape {tuple(bias.shape)}, but must be ({kernel.shape[0]},): one number for "
                         "each kernel")
    patches = windows(x, kernel.shape[2:], stride, padding, dilation)                # (N, C, *output, *size)
    inside = [1, *range(2 + axes, 2 + 2 * axes)]                                      # channel and patch axes
    maps = torch.tensordot(patches, kernel, dims=(inside, [1, *range(2, 2 + axes)]))  # (N, *output, K)
    maps = maps if bias is None else maps + bias
    return maps.movedim(-1, 1)


def max_pool(x: Tensor, size: Size, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """Maximum of every window; (N, C, \\*spatial) to (N, C, \\*output). The stride defaults to the size.

    The padding is never the maximum. Equal maxima of a window share its gradient; torch gives it to the first.

    Raises:
        ValueError: as ``windows``, and where the padding is more than half of the size, so that a window might hold
            nothing but padding.
    """
    sizes, paddings = (_per_axis(v, _spatial_axes(x)) for v in (size, padding))
    if any(2 * pad > side for pad, side in zip(paddings, sizes, strict=True)):
        raise ValueError(f"the padding is {padding}, but must be at most half of the size, which is {size}")
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    patches = windows(x, size, size if stride is None else stride, padding, fill=lowest)
    return patches.amax(dim=tuple(range(x.dim(), patches.dim())))


def average_pool(x: Tensor, size: Size, stride: Size | None = None) -> Tensor:
    """Mean of every window; (N, C, \\*spatial) to (N, C, \\*output). The stride defaults to the size."""
    patches = windows(x, size, size if stride is None else stride)
    return patches.mean(dim=tuple(range(x.dim(), patches.dim())))


def global_average_pool(x: Tensor) -> Tensor:
    """Mean of each feature map; (N, C, \\*spatial) to (N, C, 1, ...) for any spatial size (Lin et al., 2013)."""
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def convolution_matrix(kernel: Tensor, height: int, width: int) -> Tensor:
    """The matrix that a convolution is: (H' W', H W), so that ``matrix @ image.flatten()`` gives the feature map.

    Args:
        kernel: one kernel (h, w), applied with stride 1 and without padding.
        height, width: size of the input image.
    """
    pixels = torch.eye(height * width, dtype=kernel.dtype, device=kernel.device)
    responses = convolve(pixels.view(-1, 1, height, width), kernel[None, None])      # one column per pixel
    return responses.flatten(1).T


def field_of_view(layers: Sequence[tuple[int, int] | tuple[int, int, int]]) -> tuple[int, int]:
    """Side of the input region that one output value sees, and the input step between neighbouring output values.

    Each layer, in order, is ``(kernel, stride)`` or ``(kernel, stride, dilation)``. In pixels of the input
    (receptive field; Araujo et al., 2019, eq. 2).
    """
    side, step = 1, 1
    for kernel, stride, *dilation in layers:
        side += (kernel - 1) * (dilation[0] if dilation else 1) * step
        step *= stride
    return side, step


def gradient_support(network: torch.nn.Module, x: Tensor, row: int, column: int) -> Tensor:
    """Which input pixels the output value at (row, column) depends on, found by its gradient.

    Args:
        network: maps (1, C, H, W) to (1, K, H', W').
        x: one input (1, C, H, W); take random values so that no gradient vanishes by accident.

    Returns:
        Boolean mask (H, W).
    """
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[0, :, row, column].sum(), x)
    return (gradient[0] != 0).any(dim=0)


def _spatial_axes(x: Tensor) -> int:
    if not 3 <= x.dim() <= 5:
        raise ValueError(f"the input has shape {tuple(x.shape)}, but must be (N, C, W), (N, C, H, W) or "
                         "(N, C, D, H, W): add the axes N and C with image[None, None]")
    return x.dim() - 2


def _per_axis(value: Size, axes: int) -> tuple[int, ...]:
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes:
        raise ValueError(f"{values} has {len(values)} numbers, but the input has {axes} spatial axes")
    return values
