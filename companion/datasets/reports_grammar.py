"""The language of the synthetic reports: phrases from rules, sentences from phrases.

A rule is a list of phrases; a phrase holds slots for other rules, as the head of ``reports.toml`` explains. Writing is
deterministic for a given ``random.Random``. Book: *Data of this book*.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

TOKEN = re.compile(r"\{[^{}]*\}|[<|>]|[^{}<|>]+")
AN = re.compile(r"\b([Aa]) (?=[aeio]|u(?!ni[ltfqo]|se|ter)|8|11\b|18\b|hour|hono|[AEFHILMNORSX][A-Z])")
START = re.compile(r"(^|[.?] )([a-z])")


@dataclass(frozen=True)
class Writer:
    """Writes phrases of a grammar.

    Args:
        rules: phrases by the name of their rule.
        random: what the choices come from.
        names: rules that stand in for others, such as ``clot_acute_explicit`` for ``clot``.
        fixed: phrases for slots that are already filled; slots such as ``{=size}`` are added as they are met.
    """

    rules: Mapping[str, Sequence["Phrase"]]
    random: Random
    names: Mapping[str, str] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)

    def phrase(self, rule: str) -> str:
        """A phrase of the rule, with all its slots filled."""
        if rule in self.fixed:
            return self.fixed[rule]
        return self.choose(self.rules[self.names.get(rule, rule)])(self)

    def kept(self, rule: str) -> str:
        """A phrase of the rule, the same at every call."""
        if rule not in self.fixed:
            self.fixed[rule] = self.phrase(rule)
        return self.fixed[rule]

    def sentence(self, *rules: str) -> str:
        """Sentences from one of the rules: with articles, capitals and full stop."""
        return finish(self.phrase(self.choose(rules)))

    def choose(self, options: Sequence):
        """One of the options."""
        return options[int(self.random.random() * len(options))]

    def chance(self, share: float) -> bool:
        """True in a ``share`` of the calls."""
        return self.random.random() < share

    def fresh(self, names: Mapping[str, str] | None = None) -> "Writer":
        """A writer from the same stream that keeps what is fixed now, but passes on nothing that it fixes itself."""
        return replace(self, fixed=dict(self.fixed), names={**self.names, **(names or {})})


Phrase = Callable[[Writer], str]


def compile_phrase(text: str) -> Phrase:
    """The phrase as a function of its writer.

    Raises:
        ValueError: where a bracket is not closed, or closed without being opened.
    """
    tokens = TOKEN.findall(text)[::-1]
    phrase = _alternatives(tokens)
    if tokens or "".join(TOKEN.findall(text)) != text:
        raise ValueError(f"the phrase {text!r} has a bracket too many or too few")
    return phrase


def read(name: str) -> dict:
    """The contents of a TOML file beside this module."""
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def compile_rules(rules: Mapping[str, Sequence[str]]) -> dict[str, tuple[Phrase, ...]]:
    """The rules of a grammar, ready for a ``Writer``."""
    return {name: tuple(map(compile_phrase, phrases)) for name, phrases in rules.items()}


def finish(text: str) -> str:
    """A sentence from a phrase: "an" before vowels, capitals at the start, a full stop at the end."""
    text = AN.sub(r"\1n ", " ".join(text.split())).replace(" ,", ",").replace(" .", ".").replace("..", ".")
    text = START.sub(lambda match: match[1] + match[2].upper(), text)
    return text if text[-1] in ".?" else text + "."


def _alternatives(tokens: list[str]) -> Phrase:
    """Read up to the closing bracket (or the end) from the reversed tokens."""
    options = [[]]
    while tokens and tokens[-1] != ">":
        token = tokens.pop()
        if token == "|":
            options.append([])
        elif token == "<":
            options[-1].append(_alternatives(tokens))
            if not tokens or tokens.pop() != ">":
                raise ValueError("a phrase has a bracket < that is not closed")
        else:
            options[-1].append(_slot(token[1:-1]) if token[0] == "{" else _constant(token))
    joined = tuple(_joined(parts) for parts in options)
    return joined[0] if len(joined) == 1 else lambda writer: writer.choose(joined)(writer)


def _joined(parts: Sequence[Phrase]) -> Phrase:
    return parts[0] if len(parts) == 1 else lambda writer: "".join([part(writer) for part in parts])


def _slot(name: str) -> Phrase:
    if ".." in name:
        low, high = map(int, name.split(".."))
        return lambda writer: str(low + int(writer.random.random() * (high - low + 1)))
    if name.startswith("="):
        return lambda writer: writer.kept(name[1:])
    return lambda writer: writer.phrase(name)


def _constant(text: str) -> Phrase:
    return lambda writer: text
