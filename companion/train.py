"""Command line: ``companion claims`` and ``companion study CLAIM``."""

import argparse
import sys

import torch

from companion import claims, hardware
from companion.studies import store


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, or 2 with one line of explanation for a mistake of the user."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"companion: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="companion", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("claims", help="list the claims of the review that the book puts to the test")
    listing.set_defaults(run=_claims)
    study = commands.add_parser("study", help="run the experiment behind a measured claim and store its numbers",
                                description="Runs over several seeds and writes data/studies/CLAIM.json.")
    study.add_argument("claim", metavar="CLAIM", help="id of the claim, such as relu-trains-better")
    study.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N-1, at least 2 (default: 5)")
    study.add_argument("--device", metavar="D", help="cpu, cuda, ... (default: a GPU where there is one)")
    study.set_defaults(run=_study)
    return parser


def _claims(_: argparse.Namespace) -> None:
    for claim in claims.load().values():
        print(f"{claim.id:32} {claim.kind:9} {claim.says}")


def _study(options: argparse.Namespace) -> None:
    if options.seeds < 2:
        raise ValueError(f"--seeds is {options.seeds}, but an interval needs at least 2")
    try:
        device = torch.device(options.device) if options.device else hardware.device()
    except RuntimeError as error:
        raise ValueError(f"--device is {options.device!r}, unknown to torch: use cpu, cuda or cuda:1") from error
    study = store.record(options.claim, range(options.seeds), device)
    for name in study.numbers:
        print(f"{name}: {study.estimate(name)}")
    print(f"{sum(study.seconds):.0f} s on {study.device}")


if __name__ == "__main__":
    sys.exit(main())
