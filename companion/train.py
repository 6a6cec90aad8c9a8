"""Command line: look at the machine, train a network, run a study, list the claims.

Training also runs in several processes: ``torchrun --nproc-per-node 2 -m companion.train train ...``, see
``companion.distributed``.
"""

import argparse
import importlib
import inspect
import json
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from companion import checkpoints, claims, distributed, doctor, engine, hardware
from companion.datasets import folder, medmnist, splits
from companion.datasets.batches import Batches
from companion.datasets.cases import Cases
from companion.models import MODELS
from companion.studies import store

PHANTOMS = ("chest", "mammogram", "pelvis")   # whose images are 2D, with one class each
MOST = 10**8                                  # of what an option counts
MOST_RATE = 1e30                              # Adam's first steps still fit float32

NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed", "storage size calculation",
             "integer multiplication overflow")
"""What torch writes, in lower case, in an error of no type of its own, where memory does not suffice."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 with one line of explanation for a mistake of the user."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError, engine.TrainingError) as error:
        return _explain(str(error))
    except (RuntimeError, MemoryError) as error:
        if not _lacks_memory(error):
            raise
        remedy = "take a smaller --size, --cases or --batch" if hasattr(options, "batch") else "take fewer --jobs"
        asked = re.search(r"allocate ([\d.]+ \w+)", str(error))
        return _explain(f"there is too little memory{f' ({asked[1]} at once)' if asked else ''}: {remedy}")
    return 0


def _explain(message: str) -> int:
    print(f"companion: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _lacks_memory(error: Exception) -> bool:
    """Whether memory did not suffice; all other errors of torch are no mistake of the user and stay visible."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(phrase in str(error).lower() for phrase in NO_MEMORY)


class _Parser(argparse.ArgumentParser):
    """A parser that explains a mistake in one line, like every other error of the command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"companion: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="companion", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    look = commands.add_parser("doctor", help="show versions, device and data found, for a question or a bug report")
    look.set_defaults(run=_doctor)
    _add_train(commands.add_parser(
        "train", help="train a network on a phantom, a MedMNIST set or a folder of images",
        description="Shows its progress, and prints one line for each epoch at the end. Cut off and called again with "
                    "the same --folder and options, it goes on and ends with the same weights; more --epochs extend "
                    "it. Several processes: torchrun --nproc-per-node N -m companion.train train ..., with the same "
                    "options; on several nodes the --folder must be one that all of them share."))
    study = commands.add_parser("study", help="run the experiment behind a measured claim and store its numbers",
                                description="Runs over several seeds and writes data/studies/CLAIM.json. Cut off and "
                                            "called again, it goes on with the seeds that are missing.")
    study.add_argument("claim", metavar="CLAIM", help="id of the claim, such as relu-trains-better")
    study.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1, at least 2 and as many as are "
                       "stored (default: as many as are stored, else 5)")
    study.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="J", help="seeds that run side by side, "
                       "sharing the processor cores (default: one for each core, %(default)s here)")
    study.add_argument("--device", metavar="D", help="cpu, cuda, ... (default: a GPU where there is one)")
    study.set_defaults(run=_study)
    listing = commands.add_parser("claims", help="list the claims of the review that the book puts to the test")
    listing.set_defaults(run=_claims)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, type=os.path.expanduser, metavar="SET",
                        help=f"a phantom ({', '.join(PHANTOMS)}), a 2D MedMNIST set with one class for each image, "
                        "such as pneumoniamnist, or the path of its npz, or a folder with labels.csv")
    parser.add_argument("--model", default="small_gap_cnn", choices=sorted(MODELS), help="architecture (default: "
                        "%(default)s)")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="times through the training set (default: "
                        "%(default)s)")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="cases in a mini-batch, over all processes "
                        "(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0.001, metavar="R", help="learning rate of Adam (default: "
                        "%(default)s)")
    parser.add_argument("--patience", type=int, metavar="N", help="stop after N epochs without a better development "
                        "loss, and keep the best weights")
    parser.add_argument("--cases", type=int, default=500, metavar="N", help="cases of a phantom to make (default: "
                        "%(default)s)")
    parser.add_argument("--size", type=int, default=32, metavar="S", help="pixels across an image, but for "
                        "MedMNIST (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of data, weights and order (default: "
                        "%(default)s)")
    parser.add_argument("--folder", type=_path, metavar="F", help="where to keep checkpoint, weights and history")
    parser.add_argument("--test", action="store_true", help="evaluate the test set at the end: once, when all is "
                        "chosen")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, ...; without it a GPU where there is one")
    parser.set_defaults(run=_train)


def _path(text: str) -> Path:
    """A path, where ``~`` is the home folder also in ``--folder=~/run``, which the shell leaves as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text} begins with a user who is not known here: write ./{text} for a "
                                         "folder of that name, or another") from error


def _doctor(_: argparse.Namespace) -> None:
    for name, finding in doctor.examine().items():
        print(f"{name:18} {finding}")


def _claims(_: argparse.Namespace) -> None:
    for claim in claims.load().values():
        print(f"{claim.id:32} {claim.kind:9} {claim.says}")


def _study(options: argparse.Namespace) -> None:
    if options.seeds is None:
        options.seeds = store.seeds(options.claim)
    _require_between("--seeds", options.seeds, 2)
    _require_between("--jobs", options.jobs, 1)
    study = store.record(options.claim, range(options.seeds), _device(options.device), options.jobs)
    for name in study.numbers:
        print(f"{name}: {study.estimate(name)}")
    print(f"{sum(study.seconds):.0f} s on {study.device}")


def _train(options: argparse.Namespace) -> None:
    for name in ("epochs", "batch", "cases", "size"):
        _require_between(f"--{name}", getattr(options, name), 1)
    _require_between("--seed", options.seed, -2**63, 2**63 - 1)
    if not 0 < options.rate <= MOST_RATE:
        raise ValueError(f"--rate is {options.rate}, but must be positive and at most {MOST_RATE:g}: try 0.001")
    with distributed.processes(_device(options.device)) as device:
        _run(options, hardware.Hardware.best(device))


def _run(options: argparse.Namespace, machine: hardware.Hardware) -> None:
    generator = hardware.seed(options.seed)
    data = _split(options, generator)
    mean, spread = data.train.images.mean(), data.train.images.std()          # of the training set alone

    def batches(cases: Cases, draws: torch.Generator | None = None) -> Batches:
        return Batches((cases.images - mean) / spread, cases.labels, options.batch, draws)

    model = _model(options.model, data.train)
    if options.folder and not distributed.rank():
        _require_same_run(options)
    distributed.wait(machine.device)                           # for process 0
    watch = engine.Development(batches(data.development), {"accuracy": _accuracy}, options.patience)
    history = engine.fit(model, cross_entropy, torch.optim.Adam(model.parameters(), lr=options.rate),
                         batches(data.train, generator), options.epochs, development=watch, folder=options.folder,
                         hardware=machine)
    if options.test:
        outputs, labels = engine.predict(model, batches(data.test()), machine)
    if distributed.rank():
        return
    for record in history:
        print(", ".join(f"{name} {value:.4g}" for name, value in record.items()))
    if options.test:
        print(f"test loss {cross_entropy(outputs, labels):.4g}, accuracy {_accuracy(outputs, labels):.4g}, "
              f"{len(labels)} cases")
    if options.folder:
        checkpoints.save_weights(model, options.folder / "weights.safetensors")
        checkpoints.put(options.folder / "history.json", (json.dumps(history, indent=1) + "\n").encode())


def _require_same_run(options: argparse.Namespace) -> None:
    """A folder holds one run: its options are kept beside its checkpoint, and another's are refused."""
    kept = {name: getattr(options, name) for name in ("data", "model", "batch", "rate", "cases", "size", "seed")}
    path = checkpoints.prepare(options.folder) / "options.json"
    found = checkpoints.read(options.folder)
    if found is None or not found[1]["history"] or not path.exists():     # an empty history is of no run yet
        checkpoints.put(path, (json.dumps(kept, indent=1) + "\n").encode())
        return
    before = _options_of(path)
    if not isinstance(before, dict) or kept.keys() - before.keys():
        raise ValueError(f"{path} is damaged, it does not tell the options of its run: take another folder or remove "
                         "the file")
    if changed := [f"--{k} was {before[k]}, now {v}" for k, v in kept.items() if before[k] != v]:
        raise ValueError(f"{options.folder} holds another run ({', '.join(changed)}): take the same options to go on "
                         "with it, or another folder")


def _options_of(path: Path) -> object:
    """What a run has kept; None where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _split(options: argparse.Namespace, generator: torch.Generator) -> splits.Split:
    if options.data in PHANTOMS:
        phantom = importlib.import_module(f"companion.datasets.phantoms.{options.data}")
        return splits.split(phantom.make(options.cases, generator, size=(options.size, options.size)), generator)
    if Path(options.data).is_dir():
        return splits.split(folder.load(options.data, size=options.size), generator)
    _require_classes_2d(options.data)
    return splits.Split(*(medmnist.load(options.data, subset) for subset in medmnist.SUBSETS))


def _require_classes_2d(data: str) -> None:
    """A MedMNIST set that the models here fit; told by its name, before anything is downloaded."""
    known = medmnist.info(data)
    several, deep = known["task"].startswith("multi-label"), known["python_class"].endswith("3D")
    if several or deep:
        what = f"may show several findings ({known['task']})" if several else "are 3D"
        raise ValueError(f"--data is {data}, but its images {what}, and this command trains networks that tell one "
                         "class for each 2D image: take another set, or train it in Python with engine.fit")


def _model(name: str, cases: Cases) -> torch.nn.Module:
    channels, size = cases.images.shape[1], cases.images.shape[-1]
    fixed = {"size": size} if "size" in inspect.signature(MODELS[name]).parameters else {}
    return MODELS[name](channels, len(cases.classes), **fixed)


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return (outputs.argmax(1) == labels).float().mean().item()


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name) if name else hardware.device()
    except RuntimeError as error:
        raise ValueError(f"--device is {name!r}, unknown to torch: use cpu, cuda or cuda:1") from error
    if why := doctor.complaint(device):
        raise ValueError(f"the device is {str(device)!r}, but torch can not compute on it here ({why}): use cpu, or "
                         "see companion doctor for what there is")
    return device


def _require_between(option: str, value: int, least: int, most: int = MOST) -> None:
    if value < least:
        raise ValueError(f"{option} is {value}, but must be at least {least}")
    if value > most:
        raise ValueError(f"{option} is {value}, but must be at most {most}")


if __name__ == "__main__":
    sys.exit(main())
