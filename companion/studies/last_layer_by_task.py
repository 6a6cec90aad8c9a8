"""Does each kind of task need the last layer that Table 2 of the review gives it?

Question: four tasks, one for each row of the table; each network is trained with the activation function and the loss
of its own row (right) and with those of another row (wrong). Is the right one better on test data?

Data: scikit-learn's handwritten digits. A third of them, the same for all seeds, served to choose the settings and
takes no further part. Each seed splits the others into training and test digits, and builds from them

* binary: is it a 3 or an 8? Wrong: softmax over the single output node. Score: area under the ROC curve (AUC);
* single-label: which of ten digits? Wrong: ten sigmoids with binary cross entropy. Score: accuracy;
* multi-label: which digits are in an image with four places, each empty with probability 1/2? Wrong: softmax with
  cross entropy, where the digits present share the target equally. Score: AUC of each digit, averaged, which asks only
  for the right order of the images. Described besides: the share of images for which every output is on the right side
  of 0.5 (exact match);
* regression: by how many degrees (-45 to 45) was the digit turned? The target is the angle divided by 45 degrees.
  Wrong: sigmoid with mean squared error, as binary cross entropy is not defined for such targets. Score: root mean
  squared error (RMSE) in degrees.

Settings: right and wrong share data, network, initial kernels and weights, mini-batches, steps and learning rate. Each
task has the learning rate, among 0.001, 0.003 and 0.01, that scored best on the development digits, averaged over right
and wrong and five seeds. The steps are as many as a laptop does in some seconds. They replace a first choice (400 steps
for every task, rates up to 0.03), which one of ten single-label runs did not survive and which left the multi-label
networks, above all those with sigmoids, far from trained: there neither last layer was clearly better.

Supported where, in all four tasks, the right one has the better score: the paired difference has a 95 % interval that
excludes 0. The seeds draw their test digits from the same 1200, so that their scores are not quite independent.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from companion import hardware
from companion.datasets import digits
from companion.losses import LAST_LAYERS, sigmoid, softmax
from companion.models.small_cnn import SmallCNN

CLAIM = "last-layer-by-task"
DIGITS, DEVELOPMENT, TEST = 1797, 597, 400                      # the other 800 digits are for training
MOSAICS = 2                                                     # images with four places for each digit
SIDE, TURN = 8, 45.0                                            # pixels, degrees
BATCH = 64

Function = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class Set(NamedTuple):
    """Images (N, 1, H, W) in [0, 1] and their targets, in the form that the loss of the task takes."""

    images: Tensor
    targets: Tensor


def three_or_eight(chosen: Tensor, generator: torch.Generator) -> Set:
    """The 3s (target 0) and 8s (target 1) among the chosen digits."""
    images, labels = _pick(chosen, SIDE)
    kept = (labels == 3) | (labels == 8)
    return Set(images[kept], (labels[kept, None] == 8).float())


def which_digit(chosen: Tensor, generator: torch.Generator) -> Set:
    """The chosen digits; the target is the digit (N,)."""
    return Set(*_pick(chosen, SIDE))


def which_digits(chosen: Tensor, generator: torch.Generator) -> Set:
    """Images with four places, each empty with probability 1/2; the target (N, 10) is 1 for a digit that is there."""
    images, labels = _pick(chosen, SIDE)
    drawn = torch.randint(len(chosen), (MOSAICS * len(chosen), 4), generator=generator)
    filled = torch.rand(drawn.shape, generator=generator) < 0.5
    tiles = images[drawn, 0] * filled[..., None, None]                                # (N, 4, 8, 8)
    mosaic = tiles.unflatten(1, (2, 2)).transpose(2, 3).reshape(-1, 1, 2 * SIDE, 2 * SIDE)
    return Set(mosaic, (F.one_hot(labels[drawn], 10) * filled[..., None]).amax(dim=1).float())


def which_angle(chosen: Tensor, generator: torch.Generator) -> Set:
    """The chosen digits, turned clockwise by -45 to 45 degrees; the target (N, 1) is the angle over 45 degrees."""
    images, _ = _pick(chosen, SIDE * 3 // 2)
    turn = torch.rand(len(images), 1, generator=generator) * 2 - 1
    cos, sin, none = (turn * TURN).deg2rad().cos(), (turn * TURN).deg2rad().sin(), torch.zeros_like(turn)
    places = torch.stack([torch.cat([cos, sin, none], 1), torch.cat([-sin, cos, none], 1)], dim=1)    # (N, 2, 3)
    grid = F.affine_grid(places, list(images.shape), align_corners=False)
    return Set(F.grid_sample(images, grid, align_corners=False), turn)


def _pick(chosen: Tensor, size: int) -> tuple[Tensor, Tensor]:
    images, labels = digits.load(size)
    return images[chosen] / 255, labels[chosen]


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Share of images whose largest output is that of the true class."""
    return (outputs.argmax(1) == labels).float().mean().item()


def auc(outputs: Tensor, targets: Tensor) -> float:
    """Area under the ROC curve of each column (N, K), averaged; 0.5 is chance."""
    return float(roc_auc_score(targets.numpy(), outputs.numpy(), average="macro"))


def exact_match(outputs: Tensor, targets: Tensor) -> float:
    """Share of images with every output (N, K) on the right side of 0.5."""
    return ((outputs > 0.5) == (targets > 0.5)).all(dim=1).float().mean().item()


def rmse(outputs: Tensor, targets: Tensor) -> float:
    """Root mean squared error of the angle, in degrees."""
    return TURN * F.mse_loss(outputs, targets).sqrt().item()


def one_node_softmax(logits: Tensor) -> Tensor:
    """Softmax over a single node (N, 1): always 1."""
    return torch.softmax(logits, dim=1)


def each_digit_alone(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy of ten independent sigmoids (N, 10) for digits (N,)."""
    return F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 10).float())


def equal_shares(logits: Tensor, present: Tensor) -> Tensor:
    """Cross entropy of softmax (N, 10) with targets that share one among the digits present; an empty image adds 0."""
    return F.cross_entropy(logits, present / present.sum(dim=1, keepdim=True).clamp(min=1))


def squeezed_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of a sigmoid."""
    return F.mse_loss(torch.sigmoid(logits), targets)


class Task(NamedTuple):
    """One task: images, output nodes, steps and rate of training, row of Table 2, wrong activation and loss, scores.

    The first score decides; ``better`` is 1 where a higher score is better, -1 where a lower one is.
    """

    make: Callable[[Tensor, torch.Generator], Set]
    nodes: int
    steps: int
    rate: float
    row: str
    wrong: tuple[Function, Loss]
    scores: dict[str, Callable[[Tensor, Tensor], float]]
    better: int = 1


TASKS = {
    "binary": Task(three_or_eight, 1, 200, 0.003, "binary classification",
                   (one_node_softmax, F.cross_entropy), {"AUC": auc}),
    "single-label": Task(which_digit, 10, 600, 0.01, "multiclass single-label classification",
                         (sigmoid, each_digit_alone), {"accuracy": accuracy}),
    "multi-label": Task(which_digits, 10, 1200, 0.003, "multiclass multi-label classification",
                        (softmax, equal_shares), {"AUC": auc, "exact match": exact_match}),
    "regression": Task(which_angle, 1, 400, 0.001, "regression to continuous values",
                       (sigmoid, squeezed_error), {"RMSE": rmse}, better=-1),
}


def split(seed: int) -> tuple[Tensor, Tensor]:
    """Numbers of the training and test digits of a seed; the development digits are in neither."""
    pool = torch.randperm(DIGITS, generator=torch.Generator().manual_seed(DIGITS))[DEVELOPMENT:]
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    return pool[order[TEST:]], pool[order[:TEST]]


def train(task: Task, data: Set, loss: Loss, seed: int, device: torch.device) -> nn.Module:
    """Train the small CNN of Fig. 1 with Adam; the seed fixes initial kernels and weights, and the mini-batches."""
    generator = hardware.seed(seed)
    network = SmallCNN(classes=task.nodes, size=data.images.shape[-1]).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=task.rate, fused=True)
    images, targets = (t.to(device) for t in data)
    for _ in range(task.steps):
        batch = torch.randint(len(images), (BATCH,), generator=generator).to(device)
        optimiser.zero_grad()
        loss(network(images[batch]), targets[batch]).backward()
        optimiser.step()
    return network


def outputs(name: str, seed: int, device: torch.device) -> tuple[Set, dict[str, Tensor]]:
    """Train one task with both last layers; returns its test set and what each puts out for it, (N, K) on the CPU."""
    task, generator = TASKS[name], torch.Generator().manual_seed(seed)
    train_set, test_set = (task.make(chosen, generator) for chosen in split(seed))
    found = {}
    for which, (activation, loss) in {"right": LAST_LAYERS[task.row][:2], "wrong": task.wrong}.items():
        network = train(task, train_set, loss, seed, device)
        with torch.no_grad():
            found[which] = activation(network(test_set.images.to(device))).cpu()
    return test_set, found


def scores(name: str, targets: Tensor, found: dict[str, Tensor]) -> dict[str, float]:
    """Scores of both last layers, and by how much the right one is better (gain)."""
    task = TASKS[name]
    numbers = {f"{name}, {which}: {what}": score(one, targets)
               for which, one in found.items() for what, score in task.scores.items()}
    first = next(iter(task.scores))
    gain = task.better * (numbers[f"{name}, right: {first}"] - numbers[f"{name}, wrong: {first}"])
    return {**numbers, f"{name}, gain: {first}": gain}


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Scores on all four tasks; see ``scores``."""
    numbers = {}
    for name in TASKS:
        test_set, found = outputs(name, seed, device)
        numbers |= scores(name, test_set.targets, found)
    return numbers
