"""One synthetic report: from what is true of the patient to the text, section by section.

Book: *Data of this book*. The words are in ``reports.toml``.
"""

from functools import cache
from random import Random
from typing import NamedTuple

from companion.datasets.reports_findings import ORGANS, Remark, remarks
from companion.datasets.reports_grammar import Writer, compile_rules, read
from companion.datasets.reports_slips import misspell

SECTIONS = ("exam", "indication", "technique", "comparison", "findings", "impression")


class Truth(NamedTuple):
    """What one report is written from; the fields are those of ``reports.Parameters``, for a single report."""

    present: bool
    acute: bool
    central: bool
    implicit: bool
    hedged: bool
    history: bool
    compared: bool
    routine: bool
    woman: bool
    age: int
    year: int
    misspelling: float
    seed: int


@cache
def grammar() -> tuple[dict, dict]:
    """The rules of both files, compiled, and the words that dictation software confuses."""
    words = read("reports.toml")
    rules = compile_rules(words["rules"] | read("reports_findings.toml")["rules"])
    return rules, words["sounds_alike"]


def write(truth: Truth) -> str:
    """The text of the report; the same truth gives the same text, and the misspelling changes single words only."""
    rules, sounds_alike = grammar()
    writer = _writer(truth, rules)
    said = remarks(writer, truth.present, "woman" if truth.woman else "man")
    findings, impression = _embolism(truth, writer)
    said = [Remark("vessels", " ".join(findings), "") for _ in findings[:1]] + said
    parts = {
        "exam": writer.sentence(_kind(truth, "exam")).removesuffix("."),
        "indication": _indication(truth, writer),
        "technique": writer.fresh().sentence(_kind(truth, "technique")),
        "comparison": _comparison(truth, writer),
        "findings": _findings(said, writer),
        "impression": _impression(impression + [r.impression for r in said if r.impression], writer),
    }
    text = _layout(parts, writer)
    return misspell(text, truth.misspelling, Random(truth.seed + 1), sounds_alike)


def _writer(truth: Truth, rules: dict) -> Writer:
    sex, age = "woman" if truth.woman else "man", "acute" if truth.acute else "chronic"
    place, words = "central" if truth.central else "peripheral", "implicit" if truth.implicit else "explicit"
    names = {"person": f"person_{sex}", "cancer": f"cancer_{sex}", "clot": f"clot_{age}_{words}",
             "disease_name": f"disease_{age}_{words}", "vessel": place, "extent": f"extent_{place}",
             "before": "before_vessel", "compared": f"compared_{age}"}
    writer = Writer(rules, Random(truth.seed), names)
    writer.fixed.update(age=str(truth.age), prior_year=str(truth.year - 1),
                        history_year=str(truth.year - 2 - int(writer.random.random() * 10)))
    writer.kept("prior_date")
    return writer


def _kind(truth: Truth, section: str) -> str:
    if truth.routine:
        return f"{section}_routine"
    return f"{section}_plain" if truth.implicit else f"{section}_embolism"


def _indication(truth: Truth, writer: Writer) -> str:
    rule = "indication_plain" if truth.implicit else "indication_suspected"
    text = writer.sentence("indication_routine" if truth.routine else rule)
    return f"{text} {writer.sentence('indication_history')}" if truth.history else text


def _comparison(truth: Truth, writer: Writer) -> str:
    prior = truth.compared or writer.chance(0.5)
    return writer.sentence("comparison_prior" if prior else "comparison_none")


def _embolism(truth: Truth, writer: Writer) -> tuple[list[str], list[str]]:
    """Sentences on pulmonary embolism in the findings and in the impression."""
    writer = writer.fresh()
    if truth.present:
        manner = "positive_hedged" if truth.hedged else "positive"
        findings = [writer.sentence(manner)] + [writer.sentence("compared")] * truth.compared
        impression = [writer.sentence(f"impression_{manner}")]
        return findings, impression + [writer.sentence("call")] * writer.chance(0.4)
    findings = [writer.sentence("negative_compared")] * truth.compared
    if truth.hedged:
        return findings + [writer.sentence("negative_hedged")], [writer.sentence("impression_negative_hedged")]
    plain = ["negative_implicit"] if truth.implicit else ["negative_explicit", "negative_explicit", "negative_implicit"]
    if truth.routine and not truth.implicit:
        return _routine(findings, truth, writer)
    return (findings + [writer.sentence(*plain)],
            [writer.sentence("impression_negative_compared" if truth.compared else writer.choose(plain))])


def _routine(findings: list[str], truth: Truth, writer: Writer) -> tuple[list[str], list[str]]:
    """A routine chest CT without embolism says little of the pulmonary arteries, or nothing."""
    if writer.chance(0.6):
        findings = [*findings, writer.sentence("routine_explicit")]
    said = truth.compared or writer.chance(0.3)
    rule = "impression_negative_compared" if truth.compared else "routine_explicit"
    return findings, [writer.sentence(rule)] if said else []


def _findings(said: list[Remark], writer: Writer) -> str:
    """The findings as one paragraph, or with a line for each organ."""
    organs = {organ: " ".join(r.finding for r in said if r.organ == organ) for organ in ORGANS}
    organs = {organ: text for organ, text in organs.items() if text}
    if writer.chance(0.4):
        return " ".join(organs.values())
    return "\n".join(f"{_heading(organ, writer)}: {text}" for organ, text in organs.items())


def _impression(items: list[str], writer: Writer) -> str:
    """The impression, numbered where it has several points; at most six of them."""
    items = list(dict.fromkeys(items))[:6]
    if len(items) < 2:
        items.append(writer.sentence("impression_calm"))
    if writer.chance(0.3):
        return " ".join(items)
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def _layout(parts: dict[str, str], writer: Writer) -> str:
    """The sections under their headings, in one of three styles."""
    upper, inline = writer.chance(0.6), writer.chance(0.6)
    sections = []
    for name in SECTIONS:
        heading = _heading(name, writer)
        gap = " " if inline and "\n" not in parts[name] else "\n"
        sections.append(f"{heading.upper() if upper else heading}:{gap}{parts[name]}")
    return "\n\n".join(sections)


def _heading(name: str, writer: Writer) -> str:
    return writer.phrase(f"heading_{name}").capitalize()
