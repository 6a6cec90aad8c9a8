"""Time to produce a case of each phantom beside the time to train a small CNN on it, both on the CPU.

    python benchmarks/phantoms.py [--cases 48] [--epochs 10] [--threads N] [--only NAME]

To add a phantom, add a line to ``PHANTOMS``: a name, and a function (n, generator) that returns ``Cases``. The network
suits 2D and 3D alike: three rounds of convolution, ReLU and max pooling, global average pooling, one fully connected
layer, mini-batches of 8, Adam. The training is timed over one epoch and multiplied.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

from companion.datasets.cases import Cases
from companion.datasets.phantoms import chest, lesion, liver, mammogram, nodule, pelvis, prostate
from companion.models.blocks import conv_pool

BAR = 10
"""How many times as long as the making of its set the training must take, at least."""

PHANTOMS: dict[str, Callable[[int, torch.Generator], Cases]] = {
    "nodule, 48 x 48 x 48": nodule.make,
    "nodule candidates, 48 x 48 x 48": nodule.candidates,
    "chest radiograph, 96 x 96": lambda n, generator: chest.make(n, generator, hospital="both"),
    "liver masses, 3 x 64 x 64": liver.make,
    "liver volumes, 24 x 96 x 96": liver.volumes,
    "liver slices, 96 x 96": liver.slices,
    "lesions, 96 x 96": lesion.make,
    "mammogram, 192 x 128": mammogram.make,
    "mammogram candidates, 64 x 64": lambda n, generator: mammogram.candidates(-(-n // 11), generator),  # 11 of each
    "pelvis, 96 x 96": pelvis.make,
    "prostate, 24 x 64 x 64": prostate.make,
}


def network(images: torch.Tensor) -> nn.Module:
    """A small CNN for images of this shape, 8, 16 and 32 kernels."""
    dim, channels = images.dim() - 2, images.shape[1]
    pool = nn.AdaptiveAvgPool3d(1) if dim == 3 else nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(conv_pool(dim, channels, 8), conv_pool(dim, 8, 16), conv_pool(dim, 16, 32), pool, nn.Flatten(),
                         nn.Linear(32, 2))


def train_epoch(images: torch.Tensor) -> None:
    """One pass over all cases, against labels that do not matter for the time."""
    model = network(images)
    optimiser = torch.optim.Adam(model.parameters())
    for batch in images.split(8):
        loss = nn.functional.cross_entropy(model(batch / 1000), torch.zeros(len(batch), dtype=torch.long))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def seconds(task: Callable[[], object], repeats: int) -> float:
    """The median time of a task that has run once before, in seconds."""
    task()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def row(name: str, make: Callable[[int, torch.Generator], Cases], n: int, epochs: int, repeats: int) -> str:
    """One line of the table."""
    images = make(n, torch.Generator().manual_seed(0)).images
    making = seconds(lambda: make(n, torch.Generator().manual_seed(0)), repeats) / n * 1000
    training = seconds(lambda: train_epoch(images), repeats) / n * 1000 * epochs
    verdict = "met" if training / making >= BAR else "missed"
    return f"{name:34s} {making:12.1f} {training:16.1f} {training / making:8.1f}   {verdict}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="phantoms whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, {options.cases} cases, training of {options.epochs} epochs; ms per case")
    print(f"{'phantom':34s} {'making':>12s} {'training':>16s} {'ratio':>8s}   bar of {BAR}")
    for name, make in PHANTOMS.items():
        if options.only in name:
            print(row(name, make, options.cases, options.epochs, options.repeats), flush=True)


if __name__ == "__main__":
    main()
