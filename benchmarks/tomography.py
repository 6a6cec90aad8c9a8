"""Time per image of ``companion.tomography`` beside scikit-image and ASTRA's CPU code, on the same geometry.

    python benchmarks/tomography.py [--size 128] [--views 90] [--batch 16] [--repeats 20] [--threads N]

ASTRA is optional and no dependency of this project: ``pip install astra-toolbox``.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, radon, resize
from torch import Tensor

from companion.tomography import Projector, fbp, view_angles

BARS = {"scikit-image": 10, "ASTRA": 3}
"""How many times as fast companion must be."""

Method = Callable[[], np.ndarray]


def companion_methods(images: np.ndarray, angles: Tensor) -> dict[str, Method]:
    """Projection and FBP of the whole batch at once; detectors as many as pixels, as scikit-image has it."""
    start = time.perf_counter()
    projector = Projector(images.shape[-1], angles, detectors=images.shape[-1])
    print(f"companion's matrix: {projector.matrix.values.numel() / 1e6:.1f} million entries, built once in "
          f"{time.perf_counter() - start:.2f} s")
    batch = torch.from_numpy(images)[:, None]
    sinograms = projector(batch)
    return {"projection": lambda: projector(batch)[:, 0].numpy(),
            "FBP": lambda: fbp(sinograms, projector)[:, 0].numpy()}


def skimage_methods(images: np.ndarray, angles: Tensor) -> dict[str, Method]:
    """``radon`` and ``iradon``, one image after the other, as they work."""
    degrees = angles.numpy()
    sinograms = [radon(image, degrees, circle=True) for image in images]
    return {"projection": lambda: np.stack([radon(image, degrees, circle=True).T for image in images]),
            "FBP": lambda: np.stack([iradon(s, degrees, circle=True) for s in sinograms])}


def astra_methods(images: np.ndarray, angles: Tensor, kind: str) -> dict[str, Method]:
    """ASTRA's CPU projector of one kind (line, linear, strip) and its FBP, one slice after the other, as they work."""
    import astra

    size = images.shape[-1]
    volume = astra.create_vol_geom(size, size)
    geometry = astra.create_proj_geom("parallel", 1.0, size, np.deg2rad(angles.numpy()))
    projector = astra.create_projector(kind, geometry, volume)

    def project(image: np.ndarray) -> np.ndarray:
        handle, sinogram = astra.create_sino(image, projector)
        astra.data2d.delete(handle)
        return sinogram

    def reconstruct(sinogram: np.ndarray) -> np.ndarray:
        data, result = astra.data2d.create("-sino", geometry, sinogram), astra.data2d.create("-vol", volume)
        algorithm = astra.algorithm.create({"type": "FBP", "ProjectorId": projector, "ProjectionDataId": data,
                                            "ReconstructionDataId": result, "option": {"FilterType": "Ram-Lak"}})
        astra.algorithm.run(algorithm)
        image = astra.data2d.get(result)
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([data, result])
        return image

    sinograms = [project(image) for image in images]
    return {"projection": lambda: np.stack([project(image) for image in images]),
            "FBP": lambda: np.stack([reconstruct(sinogram) for sinogram in sinograms])}


def contestants(images: np.ndarray, angles: Tensor) -> dict[str, dict[str, Method]]:
    """All that are installed, companion first."""
    methods = {"companion": companion_methods(images, angles), "scikit-image": skimage_methods(images, angles)}
    try:
        for kind in ("line", "linear", "strip"):
            methods[f"ASTRA {kind}"] = astra_methods(images, angles, kind)
    except ImportError as error:
        print(f"ASTRA is left out, as it cannot be imported ({error}): pip install astra-toolbox")
    return methods


def milliseconds(methods: dict[str, dict[str, Method]], task: str, batch: int, repeats: int) -> dict[str, list[float]]:
    """Time per image of every repeat; the methods take turns, so that other load on the machine hits all alike."""
    times = {name: [] for name in methods}
    for _ in range(repeats):
        for name, tasks in methods.items():
            start = time.perf_counter()
            tasks[task]()
            times[name].append((time.perf_counter() - start) / batch * 1e3)
    return times


def report(task: str, methods: dict[str, dict[str, Method]], times: dict[str, list[float]]) -> None:
    """One line for each method: median and best time, ratio of the medians, difference in result."""
    ours = methods["companion"][task]()
    print(f"\n{task:14}{'median ms':>10}{'best ms':>10}{'companion is':>16}{'bar':>8}{'rms difference':>17}")
    for name in methods:
        median, best = np.median(times[name]), min(times[name])
        line = f"{name:14}{median:10.2f}{best:10.2f}"
        if name != "companion":
            bar = BARS[name.split()[0]]
            ratio = median / np.median(times["companion"])
            difference = np.sqrt(np.mean((methods[name][task]() - ours) ** 2) / np.mean(ours**2))
            line += f"{ratio:10.1f} times{bar:6} x {'met' if ratio >= bar else 'NOT MET':>7}{difference:9.2%}"
        print(line)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("size", 128), ("views", 90), ("batch", 16), ("repeats", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.batch} images of {options.size} x {options.size}, {options.views} views, "
          f"{options.size} detectors, {options.threads} threads of torch {torch.__version__}, float32")
    image = resize(shepp_logan_phantom(), (options.size, options.size), anti_aliasing=True).astype(np.float32)
    images = np.stack([image] * options.batch)
    methods = contestants(images, view_angles(options.views))
    for task in ("projection", "FBP"):
        report(task, methods, milliseconds(methods, task, options.batch, options.repeats))
    if options.size % 2 == 0:
        print("\nscikit-image turns images of even size about a point half a pixel off centre: hence its difference.")


if __name__ == "__main__":
    main()
