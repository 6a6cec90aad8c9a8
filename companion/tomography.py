"""Parallel-beam tomography: images to line integrals, exactly back (adjoint), and filtered back-projection (FBP).

All of it rests on one sparse matrix. Each pixel is a little square; seen from a view, its shadow on the detector is a
trapezoid, and the share of the shadow that falls on a detector cell is that pixel's entry in the cell's row. So a cell
reads the line integral averaged over its width (the strip model; Long, Fessler and Balter, 2010), each view keeps the
mass of the image, and the transposed matrix smears a view back evenly, without stripes.

Geometry, as in scikit-image's ``radon`` and in ASTRA: x points right and y up from the centre of the image, which is
the centre of rotation. The view at angle a sees the point (x, y) at the detector position s = x cos a + y sin a: at 0
degrees the rays run along the columns, and angles grow counter-clockwise. Book: *Data of this book*.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

RAMP_WINDOWS = {
    "ram-lak": torch.ones_like,
    "shepp-logan": lambda f: torch.sinc(f / 2),
    "cosine": lambda f: torch.cos(math.pi / 2 * f),
    "hann": lambda f: 0.5 + 0.5 * torch.cos(math.pi * f),
}
"""What the ramp is multiplied with, as a function of the frequency (1 is the detector's Nyquist frequency)."""


def view_angles(views: int, arc: float = 180.0) -> Tensor:
    """``views`` equally spaced angles from 0 up to, but without, ``arc``; (views,) in degrees, float64."""
    return torch.arange(views, dtype=torch.float64) * (arc / views)


class Projector(nn.Module):
    """Line integrals of images of one size, along the rays of one geometry.

    ``projector(image)`` maps (..., H, W) to (..., views, detectors), such as (N, C, H, W) to (N, C, views, detectors);
    ``projector.adjoint(sinogram)`` is its exact transpose. Both are linear and give gradients; each is the other's. The
    matrix is built once, in double precision, and moves with ``.to(device)``; it takes 16 bytes for each of about
    2.3 H W views entries (54 MB for 128 x 128 pixels and 90 views) and is not saved with a model.

    Args:
        size: rows and columns (H, W) of the image, or one number for both.
        angles: of the views, in degrees, any number and order; see ``view_angles``.
        detectors: number of detector cells; by default enough to see every pixel in every view.
        spacing: width of a cell in mm; by default a pixel's.
        pixel: side of a pixel in mm.
        axis: position of the centre of rotation on the detector, in cells; by default its middle, (detectors - 1) / 2.
            It means something on a given detector only, so give the number of detectors too.
        dtype: of the matrix; images and sinograms are converted to it.

    An image in 1/mm gives line integrals without unit (``companion.ct``); an image without unit gives lengths in mm.

    Raises:
        ValueError: where the geometry is empty, or an image or sinogram does not fit it.
    """

    def __init__(self, size: int | tuple[int, int], angles: Tensor | Sequence[float], detectors: int | None = None,
                 spacing: float | None = None, pixel: float = 1.0, axis: float | None = None,
                 dtype: torch.dtype = torch.float32):
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.pixel, self.spacing = pixel, pixel if spacing is None else spacing
        angles = torch.as_tensor(angles, dtype=torch.float64).cpu()
        if angles.dim() != 1 or not angles.isfinite().all():
            raise ValueError(f"the angles are {angles.tolist()}, but must be a list of finite numbers in degrees, "
                             "such as view_angles(180)")
        for name, value in (("size", min(self.size)), ("pixel", pixel), ("spacing", self.spacing),
                            ("number of angles", angles.numel()), ("number of detectors", detectors)):
            if value is not None and not value > 0:
                raise ValueError(f"the {name} is {value}, but must be positive")
        if axis is not None and detectors is None:
            raise ValueError(f"the axis is at {axis} cells, but there is no number of detectors to count them on: give "
                             "both")
        self.detectors = detectors or math.ceil(math.hypot(*self.size) * pixel / self.spacing)
        self.axis = (self.detectors - 1) / 2 if axis is None else axis
        self.angles = angles
        matrix = sparse.vstack([self._view(angle) for angle in np.deg2rad(angles.numpy())], format="csr")
        self.matrix, self.transposed = _Matrix(matrix, dtype), _Matrix(matrix.T.tocsr(), dtype)

    def forward(self, image: Tensor) -> Tensor:
        """Line integrals of images (..., H, W), each the mean over its cell: (..., views, detectors), unit times mm."""
        return self._multiply(self.matrix, self.transposed, image, self.size, (len(self.angles), self.detectors))

    def adjoint(self, sinogram: Tensor) -> Tensor:
        """The transpose of ``forward``: (..., views, detectors) to (..., H, W). Not the inverse; see ``fbp``."""
        return self._multiply(self.transposed, self.matrix, sinogram, (len(self.angles), self.detectors), self.size)

    def _multiply(self, matrix: "_Matrix", transposed: "_Matrix", x: Tensor, source: tuple[int, int],
                  target: tuple[int, int]) -> Tensor:
        _check_shape(x, source)
        columns = x.to(matrix.values.dtype).reshape(-1, math.prod(source)).T
        return _Product.apply(columns, matrix, transposed).T.reshape(*x.shape[:-2], *target)

    def _view(self, angle: float) -> sparse.csr_array:
        """Rows of the matrix for one view: (detectors, H W), in mm."""
        rows, columns = self.size
        x = (np.arange(columns) - (columns - 1) / 2) * self.pixel
        y = ((rows - 1) / 2 - np.arange(rows)) * self.pixel
        centre = ((x * math.cos(angle) + y[:, None] * math.sin(angle)) / self.spacing + self.axis).ravel()  # in cells
        sides = [self.pixel * abs(f(angle)) / self.spacing for f in (math.cos, math.sin)]
        first = np.floor(centre - sum(sides) / 2 + 0.5)                     # leftmost cell that the shadow touches
        cells = first[:, None] + np.arange(math.ceil(sum(sides)) + 1)       # (H W, cells)
        shares = np.diff(_shadow(np.c_[cells, cells[:, -1] + 1] - 0.5 - centre[:, None], *sides))
        hit = (shares > 1e-7) & (cells >= 0) & (cells < self.detectors)
        pixel = np.nonzero(hit)[0].astype(np.int32)
        weights = shares[hit] * self.pixel**2 / self.spacing                # area under the cell / width of the cell
        return sparse.csr_array((weights, (cells[hit].astype(np.int32), pixel)), (self.detectors, rows * columns))


class _Matrix(nn.Module):
    """A sparse matrix by rows: where each row starts, the columns of its entries, and their values."""

    def __init__(self, matrix: sparse.csr_array, dtype: torch.dtype):
        super().__init__()
        self.register_buffer("starts", torch.from_numpy(matrix.indptr), persistent=False)
        self.register_buffer("columns", torch.from_numpy(matrix.indices), persistent=False)
        self.register_buffer("values", torch.from_numpy(matrix.data).to(dtype), persistent=False)

    def times(self, dense: Tensor) -> Tensor:
        """The product with a dense matrix."""
        # Each of its rows is a weighted sum of a few rows of the dense matrix. torch calls that an embedding bag, and
        # it is twice as fast as torch's product with a sparse CSR tensor, the same on every device, and not beta.
        return F.embedding_bag(self.columns, dense.contiguous(), self.starts, mode="sum",
                               per_sample_weights=self.values, include_last_offset=True)


class _Product(torch.autograd.Function):
    """A sparse matrix times dense columns; its derivative is the transposed matrix, which is given along."""

    @staticmethod
    def forward(columns: Tensor, matrix: _Matrix, transposed: _Matrix) -> Tensor:
        return matrix.times(columns)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, _Matrix, _Matrix], output: Tensor) -> None:
        _, ctx.matrix, ctx.transposed = inputs

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(gradient, ctx.transposed, ctx.matrix), None, None


def _check_shape(x: Tensor, ends: tuple[int, int]) -> None:
    if x.shape[-2:] != ends:
        raise ValueError(f"the input has shape {tuple(x.shape)}, but must end in {ends}, as the geometry has it")


def _shadow(t: np.ndarray, a: float, b: float) -> np.ndarray:
    """Share of a square's shadow, a trapezoid of sides a and b about 0, that lies left of t (all in cells)."""
    a, b = max(a, 1e-7), max(b, 1e-7)                                       # seen face on, a side has no width
    outer, inner = (a + b) / 2, abs(a - b) / 2
    corners = [(t + outer, 1), (t + inner, -1), (t - inner, -1), (t - outer, 1)]
    return sum(sign * np.maximum(c, 0) ** 2 for c, sign in corners) / (2 * a * b)


def ramp_filter(sinogram: Tensor, spacing: float = 1.0, window: str = "ram-lak") -> Tensor:
    """Each view filtered with the ramp, as FBP needs it: (..., detectors) to the same shape, in its unit / mm.

    The ramp is the transform of its band-limited form in space (Kak and Slaney, 1988, ch. 3, eq. 61), so that uniform
    regions keep their value; the window then damps high frequencies: ``ram-lak`` (none), ``shepp-logan``, ``cosine`` or
    ``hann``, in the order of growing smoothness.

    Args:
        sinogram: line integrals; the object's shadow must lie within the detector.
        spacing: width of a detector cell in mm.
        window: a name in ``RAMP_WINDOWS``.

    Raises:
        ValueError: where the window has no such name.
    """
    if window not in RAMP_WINDOWS:
        raise ValueError(f"the window is {window!r}, but must be one of {', '.join(RAMP_WINDOWS)}")
    length = 2 ** math.ceil(math.log2(2 * sinogram.shape[-1]))              # no wrap-around
    n = torch.arange(-length // 2, length // 2, device=sinogram.device, dtype=sinogram.dtype).roll(length // 2)
    ramp = torch.where(n % 2 == 0, 0, -1 / (math.pi * n).square())
    ramp[0] = 1 / 4
    response = torch.fft.rfft(ramp).real / spacing
    response = response * RAMP_WINDOWS[window](torch.linspace(0, 1, len(response)).to(response))
    return torch.fft.irfft(torch.fft.rfft(sinogram, n=length) * response, n=length)[..., :sinogram.shape[-1]]


def fbp(sinogram: Tensor, projector: Projector, window: str = "ram-lak") -> Tensor:
    """Filtered back-projection: (..., views, detectors) to images (..., H, W), in the sinogram's unit / mm.

    Line integrals without unit give attenuation in 1/mm. Each view counts for the directions that are nearer to it than
    to any other (modulo 180 degrees), so views may be sparse, uneven or doubled; sparse views leave streaks. A gap of
    more than five times the usual one is taken for a limited arc: no view counts for the directions in it.

    Args:
        window: of the ramp filter; see ``ramp_filter``.

    Raises:
        ValueError: where the sinogram does not fit the projector, or the window has no such name.
    """
    _check_shape(sinogram, (len(projector.angles), projector.detectors))
    filtered = ramp_filter(sinogram.to(projector.matrix.values.dtype), projector.spacing, window)
    weights = _directions(projector.angles).to(filtered) * (projector.spacing / projector.pixel**2)
    return projector.adjoint(filtered * weights[:, None])


def _directions(angles: Tensor) -> Tensor:
    """The part of the half circle that each view stands for, in radians (views,); they add up to pi on a full arc."""
    ordered, order = (angles % 180).sort()
    gaps = torch.cat([ordered[1:], ordered[:1] + 180]) - ordered            # to the next view, all the way round
    usual = gaps[gaps > 1e-9].median()                                      # doubled views leave no gap
    gaps = torch.where(gaps > 5 * usual, usual, gaps)                       # nobody looked there: no view stands for it
    return torch.deg2rad((gaps + gaps.roll(1)) / 2)[order.argsort()]


def rotation_axis(sinogram: Tensor, angles: Tensor) -> Tensor:
    """Where the centre of rotation falls on the detector, in cells, from the sinogram alone.

    The centre of mass of the views moves as axis + x cos a + y sin a, with (x, y) that of the object (Helgason and
    Ludwig's consistency condition of order one); this is its fit by least squares.

    Args:
        sinogram: (..., views, detectors), of an object that each view sees whole and of air that reads 0.
        angles: of at least three views (views,), in degrees.

    Returns:
        Tensor (...): one position for each image.

    Raises:
        ValueError: where there are fewer than three views, or one without mass.
    """
    if len(angles) < 3:
        raise ValueError(f"there are {len(angles)} views, but the axis can be found from three or more")
    position = torch.arange(sinogram.shape[-1], device=sinogram.device, dtype=torch.float64)
    mass = sinogram.double()
    if not (mass.sum(-1) > 0).all():
        raise ValueError("a view of the sinogram holds no positive mass, so that its centre is not defined: give line "
                         "integrals of an object in air")
    centre = (mass * position).sum(-1) / mass.sum(-1)                       # (..., views)
    turn = torch.deg2rad(torch.as_tensor(angles, dtype=torch.float64, device=sinogram.device))
    design = torch.stack([torch.ones_like(turn), turn.cos(), turn.sin()], dim=-1)
    return (torch.linalg.pinv(design) @ centre[..., None])[..., 0, 0]
