"""Every notebook from radiomics on runs on other images by changing one line: the section *On images of your own*."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from torch import Tensor

from companion.datasets import digits
from companion.datasets.cases import Cases

BOOK = Path(__file__).resolve().parents[1] / "book"
NOTEBOOKS = [BOOK / "1-building-blocks" / "6-radiomics-or-cnn.ipynb",
             *sorted(path for part in BOOK.glob("[2-9]-*") for path in part.glob("*.ipynb"))]
LINE = re.compile(r"^(cases|home, away) = .*$", re.MULTILINE)


def cells(path: Path, tag: str) -> list[str]:
    """Sources of the code cells with a tag."""
    found = nbformat.read(path, 4).cells
    return [c.source for c in found if c.cell_type == "code" and tag in c.metadata.get("tags", ())]


def real_digits() -> Cases:
    """Real images, ten classes, one channel."""
    images, labels = digits.load(28)
    return Cases(images[:300].float(), labels[:300], tuple("0123456789"), torch.arange(300))


def drawn(shape: tuple[int, ...], classes: int, patients: Tensor) -> Cases:
    """Noise that is brighter the higher the class."""
    labels = torch.arange(len(patients)) % classes
    noise = torch.randn(len(patients), *shape, generator=torch.Generator().manual_seed(0))
    level = labels.float().view(-1, *[1] * len(shape))
    return Cases(100 + 20 * (noise + level), labels, tuple(f"class {k}" for k in range(classes)), patients)


OTHERS = {"real digits": real_digits, "colours": lambda: drawn((3, 28, 28), 3, torch.arange(90)),
          "volumes of few patients": lambda: drawn((1, 5, 20, 24), 2, torch.arange(80) // 2)}


def run(path: Path, images: object) -> None:
    """Execute set-up, the one line that chooses the images, and what follows from it."""
    setup = next(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
    (choice,), follow = cells(path, "cases"), cells(path, "on-cases")
    exchanged, lines = LINE.subn(lambda line: f"{line[1]} = _chosen", choice)
    assert lines == 1, f"{path.name} must choose its images in one line"
    assert any("assert" in source for source in follow), f"{path.name} checks nothing on other images"
    names = {"_chosen": images, "__name__": "own images"}
    for source in (setup, exchanged, *follow):
        if source.startswith("%"):
            source = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
        exec(compile(source, path.name, "exec"), names)
    plt.close("all")


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_runs_on_other_images(path, other):
    images = OTHERS[other]()
    half = torch.arange(len(images)) % 4 < 2          # keeps patients and classes together in both halves
    two = (images.select(half.nonzero()[:, 0]), images.select((~half).nonzero()[:, 0]))
    run(path, two if "home, away = " in "".join(cells(path, "cases")) else images)
