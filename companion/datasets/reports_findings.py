"""What the synthetic reports say beside pulmonary embolism: one topic after the other, normal or not.

The topics are in ``reports_findings.toml``. Book: *Data of this book*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from companion.datasets.reports_grammar import Phrase, Writer, compile_phrase, finish, read

ORGANS = ("vessels", "lungs", "pleura", "heart", "mediastinum", "tissues", "bones", "abdomen", "devices")
IN_IMPRESSION = 0.7   # share of the abnormal topics that the impression takes up


@dataclass(frozen=True)
class Topic:
    """One thing a report can comment on, as the head of ``reports_findings.toml`` explains.

    Args:
        found: pairs of a finding and its sentence for the impression, which may be None.
        chance: that it is abnormal; embolism: the same in reports with a pulmonary embolism.
        mention: the chance that it is mentioned where it is normal.
    """

    organ: str
    group: str
    sex: str
    chance: float
    embolism: float
    mention: float
    normal: tuple[Phrase, ...]
    found: tuple[tuple[Phrase, Phrase | None], ...]
    impression: tuple[Phrase, ...]


class Remark(NamedTuple):
    """Sentences on one topic: under which organ, the finding, and what the impression says of it (or nothing)."""

    organ: str
    finding: str
    impression: str


@cache
def topics() -> tuple[Topic, ...]:
    """All topics, in the order of the report."""
    entries = [_topic(entry) for entry in read("reports_findings.toml")["topic"]]
    return tuple(sorted(entries, key=lambda topic: ORGANS.index(topic.organ)))


def remarks(writer: Writer, embolism: bool, sex: str) -> list[Remark]:
    """What one report says of all topics.

    Args:
        embolism: whether the patient has a pulmonary embolism, which makes some findings more likely.
        sex: ``woman`` or ``man``.
    """
    possible = [topic for topic in topics() if topic.sex in ("", sex)]
    abnormal = [writer.chance(topic.embolism if embolism else topic.chance) for topic in possible]
    sick = {topic.group for topic, bad in zip(possible, abnormal, strict=True) if bad}
    organs = {topic.organ for topic, bad in zip(possible, abnormal, strict=True) if bad}
    said = []
    for topic, bad in zip(possible, abnormal, strict=True):
        if bad:
            said.append(_finding(topic, writer.fresh()))
        elif _may_be_normal(topic, sick, organs) and writer.chance(topic.mention):
            said.append(Remark(topic.organ, finish(writer.choose(topic.normal)(writer)), ""))
    return said


def _may_be_normal(topic: Topic, sick: set[str], organs: set[str]) -> bool:
    return topic.group not in sick and (topic.chance > 0 or topic.organ not in organs)


def _finding(topic: Topic, writer: Writer) -> Remark:
    finding, impression = writer.choose(topic.found)
    text = finish(finding(writer))
    if impression is None and topic.impression:
        impression = writer.choose(topic.impression)
    said = impression is not None and writer.chance(IN_IMPRESSION)
    return Remark(topic.organ, text, finish(impression(writer)) if said else "")


def _topic(entry: dict) -> Topic:
    chance = entry["chance"]
    return Topic(organ=entry["organ"], group=entry.get("group", entry["name"]), sex=entry.get("sex", ""), chance=chance,
                 embolism=entry.get("chance_embolism", chance), mention=entry["mention"],
                 normal=_compiled(entry["normal"]), found=tuple(map(_pair, entry["found"])),
                 impression=_compiled(entry.get("impression", ())))


def _pair(text: str) -> tuple[Phrase, Phrase | None]:
    finding, arrow, impression = text.partition(" => ")
    return compile_phrase(finding), compile_phrase(impression) if arrow else None


def _compiled(phrases: Sequence[str]) -> tuple[Phrase, ...]:
    return tuple(map(compile_phrase, phrases))
