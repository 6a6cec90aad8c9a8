"""Slips in the synthetic reports: of the keyboard, and of dictation software. Book: *Data of this book*."""

import re
from collections.abc import Mapping
from random import Random

WORD = re.compile(r"\b[A-Za-z][a-z]{4,}\b")


def misspell(text: str, rate: float, random: Random, sounds_alike: Mapping[str, str]) -> str:
    """The text with slips in a share ``rate`` of its words of five letters or more.

    Half of the slips in a word of ``sounds_alike`` are those of dictation software; all others are of the keyboard: two
    letters exchanged, one left out, or one doubled, and not the first. Words in capitals stay as they are.
    """
    def slip(match: re.Match) -> str:
        return _slip(match[0], random, sounds_alike) if random.random() < rate else match[0]

    return WORD.sub(slip, text) if rate else text


def _slip(word: str, random: Random, sounds_alike: Mapping[str, str]) -> str:
    heard = sounds_alike.get(word.lower())
    if heard and random.random() < 0.5:
        return heard.capitalize() if word[0].isupper() else heard
    kind, i = int(random.random() * 3), 1 + int(random.random() * (len(word) - 2))
    if kind == 0 and word[i] != word[i + 1]:
        return word[:i] + word[i + 1] + word[i] + word[i + 2:]
    return word[:i] + word[i + 1:] if kind == 1 else word[:i] + word[i] + word[i:]
