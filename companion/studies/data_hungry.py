"""Does a CNN need more data, and more computation, than hand-crafted features? Book: Part 1, radiomics or CNN.

Learning curves over 20 to 2000 training cases, each set holding the smaller ones, on the same test cases. Task, inputs
and settings: ``radiomics_or_cnn``; the settings are the same for all numbers of cases.

Conditions, fixed after the settings and before any test case of a study was looked at, by 95 % intervals of
differences. *Few cases* is the test AUC averaged over 20, 50 and 100 training cases.

* With few cases a random forest and a support vector machine on features within the mask are ahead of the CNN.
* With few cases both are ahead of the CNN on features of the image alone, the same input.
* From 100 to 2000 cases the CNN gains more than either does on features within the mask.
* At 2000 cases the CNN takes more processor time than features and random forest together.
* Training the CNN takes more than ten minutes on one core of a CPU, so that a graphics processor (GPU) is needed.

Supported where all eight hold. The time is that of one core, without the rendering of the phantom, which both sides
share. The review has networks with millions of parameters in mind; ours has some thirty thousand, so that the last two
conditions speak of small networks only.
"""

import time
from statistics import fmean

import torch

from companion.studies.radiomics_or_cnn import (
    CLASSIFIERS,
    IMAGE,
    INPUTS,
    MASK,
    Sets,
    auc,
    classifier,
    features,
    judge,
    look,
    margins,
    pixels,
    sets,
    train_cnn,
)

CLAIM = "data-hungry"
NUMBERS = (20, 50, 100, 200, 500, 1000, 2000)
FEW = 100
NAMES = (*(f"{name}, {given}" for given in INPUTS for name in CLASSIFIERS), f"CNN, {IMAGE}")
PAIRS = {**{f"few cases, {name} minus CNN": (f"{name}, few cases", f"CNN, {IMAGE}, few cases") for name in NAMES[:-1]},
         **{f"gain {FEW} to {NUMBERS[-1]}, CNN minus {name}": (f"CNN, {IMAGE}, gain", f"{name}, gain")
            for name in NAMES[:-1]}}


def feature_curves(data: Sets, seed: int, numbers: tuple[int, ...]) -> tuple[dict[str, float], float]:
    """Test AUC of features and each classifier, by names such as ``random forest, image, 20``, and the processor
    seconds of the features of the most cases within the mask with a random forest."""
    found, seconds = {}, 0.0
    for given in INPUTS:
        start = time.process_time()
        x, labels = features(data.train, given), data.train.labels
        taken = time.process_time() - start
        x_test = features(data.test, given)
        for name in CLASSIFIERS:
            for n in numbers:
                start = time.process_time()
                trained = classifier(name, seed).fit(x[:n].numpy(), labels[:n].numpy())
                if (given, name, n) == (MASK, CLASSIFIERS[0], numbers[-1]):
                    seconds = taken + time.process_time() - start
                found[f"{name}, {given}, {n}"] = auc(data.test.labels, judge(trained, x_test))
    return found, seconds


def cnn_curve(data: Sets, seed: int, numbers: tuple[int, ...], device: torch.device) -> tuple[dict[str, float], float]:
    """Test AUC of the CNN on the image alone, and the processor seconds of its training on the most cases."""
    x, x_test, found, seconds = pixels(data.train, IMAGE), pixels(data.test, IMAGE), {}, 0.0
    for n in numbers:
        start = time.process_time()
        network = train_cnn(x[:n], data.train.labels[:n], seed, device)
        seconds = time.process_time() - start
        found[f"CNN, {IMAGE}, {n}"] = auc(data.test.labels, look(network, x_test))
    return found, seconds


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Test AUCs by names such as ``CNN, image, 20``, the differences named in ``PAIRS``, and processor seconds."""
    data = sets(seed)
    by_features, features_seconds = feature_curves(data, seed, NUMBERS)
    by_cnn, cnn_seconds = cnn_curve(data, seed, NUMBERS, device)
    found = by_features | by_cnn
    for name in NAMES:
        found[f"{name}, few cases"] = fmean(found[f"{name}, {n}"] for n in NUMBERS if n <= FEW)
        found[f"{name}, gain"] = found[f"{name}, {NUMBERS[-1]}"] - found[f"{name}, {FEW}"]
    return found | margins(found, PAIRS) | {"seconds, CNN": cnn_seconds, "seconds, features": features_seconds,
                                            "seconds, CNN over features": cnn_seconds / features_seconds}
