"""Time to produce a case of each phantom beside the time to train a network of its task on it, both on the CPU.

    python benchmarks/phantoms.py [--cases 48] [--epochs 10] [--threads N] [--only NAME]

The bar: to train for ten epochs takes at least ten times as long as to make the set. Reports are texts and have two
rows: a linear classifier on bags of words, the least that can be trained on them, and convolutions over the words, with
the layout of Kim (EMNLP 2014). Words are numbered once, before the clock starts.

To add a phantom, add a line to ``PHANTOMS``: a name, a function (n, generator) that returns ``Cases``, and the network
of the task that it serves: ``classifier``, the smallest that makes sense; ``deep_classifier``, with the layout of
Yasaka et al. (2018), six convolutions, three dense layers; ``encoder_decoder``, two levels of a small U-Net, for masks
and boxes. Mini-batches of 8, Adam. The training is timed over one epoch and multiplied. What counts is CPU time, with
one thread unless told otherwise: a second thread that waits for work would count as if it worked.
"""

import argparse
import re
import time
from collections.abc import Callable

import torch
from torch import nn

from companion.datasets import reports
from companion.datasets.cases import Cases
from companion.datasets.phantoms import chest, lesion, liver, mammogram, nodule, pelvis, prostate
from companion.datasets.reports import Reports
from companion.models.blocks import conv_pool

BAR = 10
"""How many times as long as the making of its set the training for ten epochs must take, at least."""

Make = Callable[[int, torch.Generator], Cases | Reports]
Network = Callable[[torch.Tensor], nn.Module]


def classifier(images: torch.Tensor) -> nn.Module:
    """Three rounds of convolution (8, 16, 32 kernels), ReLU, pooling, then global average pooling; for 2D and 3D."""
    dim, channels = images.dim() - 2, images.shape[1]
    pool = nn.AdaptiveAvgPool3d(1) if dim == 3 else nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(conv_pool(dim, channels, 8), conv_pool(dim, 8, 16), conv_pool(dim, 16, 32), pool, nn.Flatten(),
                         nn.Linear(32, 2))


def deep_classifier(images: torch.Tensor) -> nn.Module:
    """Six convolutions in pairs (32, 64, 128 kernels), a pooling after each pair, three fully connected layers."""
    layers, width = [], images.shape[1]
    for kernels in (32, 64, 128):
        layers += [nn.Conv2d(width, kernels, 3, padding=1), nn.ReLU(),
                   nn.Conv2d(kernels, kernels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        width = kernels
    flat = 128 * (images.shape[-1] // 8) * (images.shape[-2] // 8)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(),
                         nn.Linear(32, 5))


def encoder_decoder(images: torch.Tensor) -> nn.Module:
    """Two convolutions at full and two at half resolution (16, 32 kernels), up again, a value per class and voxel."""
    dim, channels = images.dim() - 2, images.shape[1]
    conv, pool = (nn.Conv3d, nn.MaxPool3d) if dim == 3 else (nn.Conv2d, nn.MaxPool2d)
    return nn.Sequential(conv(channels, 16, 3, padding=1), nn.ReLU(), conv(16, 16, 3, padding=1), nn.ReLU(), pool(2),
                         conv(16, 32, 3, padding=1), nn.ReLU(), conv(32, 32, 3, padding=1), nn.ReLU(),
                         nn.Upsample(scale_factor=2), conv(32, 16, 3, padding=1), nn.ReLU(), conv(16, 2, 1))


class Words(nn.Module):
    """Convolutions over word vectors: 300 numbers a word, 100 kernels of 3, 4 and 5 words, the most of each kernel."""

    def __init__(self, words: int):
        super().__init__()
        self.vectors = nn.Embedding(words, 300)
        self.convolutions = nn.ModuleList(nn.Conv1d(300, 100, width) for width in (3, 4, 5))
        self.classifier = nn.Linear(3 * 100, 2)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Numbers of words (N, L) to logits (N, 2)."""
        vectors = self.vectors(numbers).transpose(1, 2)
        return self.classifier(torch.cat([layer(vectors).relu().amax(2) for layer in self.convolutions], 1))


def bag(numbers: torch.Tensor) -> nn.Module:
    """A linear classifier on how often each word occurs; 0 stands for no word."""
    return nn.EmbeddingBag(int(numbers.max()) + 1, 2, mode="sum", padding_idx=0)


def convolutions(numbers: torch.Tensor) -> nn.Module:
    """``Words`` for as many words as there are."""
    return Words(int(numbers.max()) + 1)


def numbered(texts: tuple[str, ...]) -> torch.Tensor:
    """Numbers of the words, (N, longest), from 1; 0 behind the last word."""
    split = [re.findall(r"[a-z]+|[0-9.]+", text.lower()) for text in texts]
    known = {word: number for number, word in enumerate(sorted({w for words in split for w in words}), 1)}
    rows = [torch.tensor([known[word] for word in words]) for words in split]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


PHANTOMS: dict[str, tuple[Make, Network]] = {
    "nodule, 48 x 48 x 48": (nodule.make, classifier),
    "nodule candidates, 48 x 48 x 48": (nodule.candidates, classifier),
    "chest radiograph, 96 x 96": (lambda n, generator: chest.make(n, generator, hospital="both"), classifier),
    "liver masses, 3 x 64 x 64": (liver.make, deep_classifier),
    "liver volumes, 24 x 96 x 96": (liver.volumes, encoder_decoder),
    "liver slices, 96 x 96": (liver.slices, encoder_decoder),
    "lesions, 96 x 96": (lesion.make, encoder_decoder),
    "mammogram, 192 x 128": (mammogram.make, classifier),
    "mammogram candidates, 64 x 64": (lambda n, generator: mammogram.candidates(-(-n // 11), generator), classifier),
    "pelvis, 96 x 96": (pelvis.make, encoder_decoder),
    "prostate, 24 x 64 x 64": (prostate.make, encoder_decoder),
    "reports, bags of words": (reports.make, bag),
    "reports, convolutions": (reports.make, convolutions),
}


def inputs(cases: Cases | Reports) -> torch.Tensor:
    """What goes into the network: images in thousands of their unit, or numbers of words."""
    return numbered(cases.texts) if isinstance(cases, Reports) else cases.images / 1000


def train_epoch(images: torch.Tensor, network: Network) -> None:
    """One pass over all cases, against labels that do not matter for the time."""
    model = network(images)
    optimiser = torch.optim.Adam(model.parameters())
    for batch in images.split(8):
        outputs = model(batch)
        loss = nn.functional.cross_entropy(outputs, outputs.detach().argmax(1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def seconds(task: Callable[[], object], repeats: int) -> float:
    """The median CPU time of a task that has run once before, in seconds; other work on the machine does not count."""
    task()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return sorted(times)[repeats // 2]


def row(name: str, n: int, epochs: int, repeats: int) -> str:
    """One line of the table."""
    make, network = PHANTOMS[name]
    images = inputs(make(n, torch.Generator().manual_seed(0)))
    making = seconds(lambda: make(n, torch.Generator().manual_seed(0)), repeats) / n * 1000
    training = seconds(lambda: train_epoch(images, network), repeats) / n * 1000 * epochs
    verdict = "met" if training / making >= BAR else "missed"
    return f"{name:34s} {making:12.1f} {training:16.1f} {training / making:8.1f}   {verdict}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="phantoms whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, {options.cases} cases, training of {options.epochs} epochs; ms per case")
    print(f"{'phantom':34s} {'making':>12s} {'training':>16s} {'ratio':>8s}   bar of {BAR}")
    for name in PHANTOMS:
        if options.only in name:
            print(row(name, options.cases, options.epochs, options.repeats), flush=True)


if __name__ == "__main__":
    main()
