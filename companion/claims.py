"""The review's claims, and how a notebook puts them to the test.

``claims.toml`` beside this file lists them. A notebook ends each test with one of three calls, and shows the result:

* ``exact``: follows from definitions; raises where it does not hold;
* ``measured``: an experiment over several seeds; its outcome is *supported* where every condition holds, *not
  supported* where none does, *mixed* otherwise. A claim that our data do not support is a result, not an error;
* ``stated``: a definition that the text gives.

``within`` serves single trained numbers, which move in the second digit from machine to machine.
``collect`` reads the findings back from stored notebooks, for the page *Claims*.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

MIME = "application/vnd.companion.finding+json"
KINDS = ("exact", "measured", "stated")


class ClaimError(AssertionError):
    """A claim that must hold does not, or a trained number lies outside its tolerance."""


@dataclass(frozen=True)
class Claim:
    """One statement of the review: key, part of the book, place in the review, kind, words, and how it is tested."""

    id: str
    part: str
    at: str
    kind: str
    says: str
    test: str


class Estimate(NamedTuple):
    """A mean with its 95 % interval over n seeds."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3g} (95 % interval {self.low:.3g} to {self.high:.3g}, {self.n} seeds)"


@dataclass(frozen=True)
class Finding:
    """What a notebook found about a claim; shows itself as a box and carries itself as data."""

    claim: Claim
    outcome: str
    evidence: tuple[str, ...]

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        c = self.claim
        points = "".join(f"<li>{escape(e)}</li>" for e in self.evidence)
        html = (f'<div class="claim claim-{self.outcome.replace(" ", "-")}" id="claim-{c.id}">'
                f'<p class="claim-head">Claim <code>{c.id}</code>: <strong>{self.outcome}</strong> '
                f'<span class="claim-kind">({c.kind}; review: {escape(c.at)})</span></p>'
                f'<p class="claim-says">{escape(c.says)}</p><ul>{points}</ul></div>')
        plain = "\n".join([f"Claim {c.id} ({c.kind}; review: {c.at}): {self.outcome}", f"  {c.says}",
                           *(f"  - {e}" for e in self.evidence)])
        data = {"id": c.id, "outcome": self.outcome, "evidence": list(self.evidence)}
        return {"text/html": html, "text/plain": plain, MIME: data}


@dataclass(frozen=True)
class Trained:
    """A trained number inside its tolerance. The words are the same on every machine; the picture shows the value."""

    what: str
    value: float
    expected: float
    tolerance: float

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from companion.plotting.strip import strip_png  # only here: the rest of this module needs no matplotlib

        return {"text/plain": f"{self.what}: expected {self.expected:g}, may differ by up to {self.tolerance:g}",
                "image/png": strip_png(self.what, self.value, self.expected, self.tolerance)}


@cache
def load() -> dict[str, Claim]:
    """All claims by their id, in the order of the review."""
    text = Path(__file__).with_name("claims.toml").read_text(encoding="utf-8")
    return {c["id"]: Claim(**c) for c in tomllib.loads(text)["claim"]}


def exact(claim_id: str, holds: bool, evidence: str) -> Finding:
    """A claim that must hold to floating-point precision.

    Args:
        claim_id: key in ``claims.toml``, of kind exact.
        holds: the result of the check.
        evidence: one sentence: what was compared, on what.

    Raises:
        ClaimError: where it does not hold.
        ValueError: for an unknown claim or one of another kind.
    """
    claim = _find(claim_id, "exact")
    if not bool(holds):
        raise ClaimError(f"claim {claim_id} does not hold: {claim.says} Checked: {evidence}")
    return Finding(claim, "holds", (evidence,))


def measured(claim_id: str, conditions: Mapping[str, bool], estimates: Mapping[str, Estimate]) -> Finding:
    """A claim put to an experiment.

    Args:
        claim_id: key in ``claims.toml``, of kind measured.
        conditions: what the claim asks for, in words, and whether the stored study bears it out.
        estimates: the numbers behind it, by name.

    Raises:
        ValueError: for an unknown claim, one of another kind, no condition, or no estimate.
    """
    claim = _find(claim_id, "measured")
    if not conditions or not estimates:
        raise ValueError(f"claim {claim_id} is measured: give at least one condition and one estimate")
    met = [bool(c) for c in conditions.values()]
    outcome = "supported" if all(met) else "mixed" if any(met) else "not supported"
    words = [f"{'yes' if ok else 'no'}: {condition}" for condition, ok in zip(conditions, met, strict=True)]
    return Finding(claim, outcome, (*words, *(f"{name}: {value}" for name, value in estimates.items())))


def stated(claim_id: str, evidence: str) -> Finding:
    """A definition that the text gives; ``evidence`` says where.

    Raises:
        ValueError: for an unknown claim or one of another kind.
    """
    return Finding(_find(claim_id, "stated"), "stated", (evidence,))


def within(what: str, value: float, expected: float, tolerance: float) -> Trained:
    """A trained number, such as an accuracy: shown, and checked against what it may be.

    Args:
        what: name and unit of the number.
        value: as measured now.
        expected: as measured when the notebook was written.
        tolerance: how far it may move on another machine.

    Raises:
        ClaimError: where the value lies outside, or is not a number.
    """
    if not abs(value - expected) <= tolerance + 1e-12:      # written so that NaN fails; 1e-12 for decimal rounding
        raise ClaimError(f"{what} is {value:g}, but should lie within {tolerance:g} of {expected:g}")
    return Trained(what, float(value), expected, tolerance)


def collect(book: Path) -> dict[str, list[tuple[Path, dict]]]:
    """Findings stored in the notebooks below ``book``: for each claim id, where it was checked and what was found."""
    found: dict[str, list[tuple[Path, dict]]] = {}
    for path in sorted(book.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                if finding := output.get("data", {}).get(MIME):
                    found.setdefault(finding["id"], []).append((path, finding))
    return found


def _find(claim_id: str, kind: str) -> Claim:
    claims = load()
    if claim_id not in claims:
        raise ValueError(f"no claim {claim_id!r} in claims.toml; the nearest: {_nearest(claim_id, claims)}")
    if claims[claim_id].kind != kind:
        raise ValueError(f"claim {claim_id} is {claims[claim_id].kind}, but was checked as {kind}")
    return claims[claim_id]


def _nearest(word: str, words: Mapping[str, object]) -> str:
    from difflib import get_close_matches  # slow to import, needed for the message only

    return ", ".join(get_close_matches(word, words, n=3, cutoff=0.3)) or "none"
