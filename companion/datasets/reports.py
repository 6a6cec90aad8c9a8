"""Chest CT reports whose truth is known: text about pulmonary embolism, present or not. Book: Part 5, reports.

``make`` gives reports with labels; ``draw`` what is true of each patient, ``render`` the texts. After Chen et al.
(Radiology 286, 2018, 845-852) there are three labels: embolism present, acute or chronic, central or peripheral.

What is modelled
    Reports of CT pulmonary angiography (3 of 4) and of routine chest CT in American English: examination, indication,
    technique, comparison, findings, impression. Fifty-odd topics from the lungs to the upper abdomen with what is
    normal and what is not; side, lobe, segment and artery; measurements and units; negation before ("no evidence of")
    and after ("is excluded"); doubt ("likely", "cannot be excluded"); history ("pulmonary embolism in 2011"); change
    ("has resolved"); misspelt and misheard words; headings and layouts that differ.

How the text relates to the labels
    What is likely, probable or suspected is present; what cannot be excluded, or is probably an artefact, is absent; so
    is what was there once and has resolved. An embolism of no stated age is acute. Central means a main, interlobar or
    lobar artery, peripheral a segmental or smaller one. Negative reports name the disease all the time, and some
    positive ones never do ("filling defect", "thrombus", "clot").

What is not
    Acute on chronic embolism, emboli in central and in peripheral arteries named side by side, indeterminate studies,
    addenda, templates of one hospital, reports that contradict themselves. Findings of different topics are drawn
    apart, so that a lobe may be commented on that another sentence says was resected.

Numbers and sources
    Default prevalence 0.3; in practice 15 to 18 % of the examinations done for suspected embolism are positive (Costa
    et al., Emerg Radiol 21, 2014, 133-141). Default misspelling 0.001 of the words of five letters and more, which puts
    a slip into about one report in ten; 9.7 % of signed reports had one (Ringler et al., Health Informatics J 23, 2017,
    3-13). All other shares are plausible and chosen by us.

Limits
    It is a grammar: a model that reads all of it has learnt a grammar. It is not clinical evidence, and a score reached
    here says nothing about a score on the reports of a hospital.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from companion.datasets.cases import numbers
from companion.datasets.reports_text import Truth, write

ABSENT = -1


@dataclass(frozen=True)
class Parameters:
    """What N reports are written from; one entry per report.

    Args:
        present: (N,) bool, a pulmonary embolism.
        acute, central: (N,) bool, of the embolism there is, or would be.
        implicit: (N,) bool, the report never writes embolism, embolus or PE.
        hedged: (N,) bool, the statement on embolism is in doubt.
        history: (N,) bool, an embolism years ago is mentioned.
        compared: (N,) bool, an earlier CT is referred to: resolved where absent; new, or no worse where chronic.
        routine: (N,) bool, a routine chest CT and no CT angiography.
        woman: (N,) bool; age: (N,) in years; year: (N,) of the examination.
        misspelling: share of the words of five letters or more.
        patients: (N,) numbers; seeds: (N,) for the wording.
    """

    present: Tensor
    acute: Tensor
    central: Tensor
    implicit: Tensor
    hedged: Tensor
    history: Tensor
    compared: Tensor
    routine: Tensor
    woman: Tensor
    age: Tensor
    year: Tensor
    misspelling: float
    patients: Tensor
    seeds: Tensor


@dataclass(frozen=True)
class Reports:
    """N reports with their labels. ``reports[i]`` is the pair (text, present).

    Args:
        texts: of the reports.
        present: (N,) int64, 1 where there is a pulmonary embolism, else 0.
        acute: (N,) int64, 1 acute, 0 chronic, -1 (``ABSENT``) without embolism.
        central: (N,) int64, 1 central, 0 peripheral, -1 (``ABSENT``) without embolism.
        patients: (N,) int64; reports of one patient share a number and must not be split.
        parameters: what the reports were written from, for the whole set.

    Raises:
        ValueError: where the lengths differ.
    """

    texts: tuple[str, ...]
    present: Tensor
    acute: Tensor
    central: Tensor
    patients: Tensor
    parameters: Parameters | None = None

    def __post_init__(self):
        for name in ("present", "acute", "central", "patients"):
            if len(getattr(self, name)) != len(self.texts):
                raise ValueError(f"there are {len(self.texts)} texts, but {len(getattr(self, name))} {name}")

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, Tensor]:
        """Text and label of one report."""
        return self.texts[index], self.present[index]

    def select(self, index: Tensor | Sequence[int]) -> "Reports":
        """The reports at the given numbers (M,), in that order, or where (N,) is true. The parameters are dropped here.

        Raises:
            ValueError: for a number that no report has.
        """
        index = numbers(index, len(self)).to(self.present.device)
        return replace(self, texts=tuple(self.texts[i] for i in index.tolist()), present=self.present[index],
                       acute=self.acute[index], central=self.central[index], patients=self.patients[index],
                       parameters=None)


def draw(n: int, generator: torch.Generator, *, prevalence: float = 0.3, hedged: float = 0.2, history: float = 0.2,
         compared: float = 0.2, implicit: float = 0.3, misspelling: float = 0.001) -> Parameters:
    """What n reports will say. All knobs are shares from 0 to 1; except for ``prevalence``, larger is harder to read.

    Args:
        prevalence: of pulmonary embolism, kept to one report.
        hedged: of the reports, those in doubt about embolism.
        history: of the reports, those that mention an embolism of years ago.
        compared: of the reports, those that refer to an earlier CT with embolism (or, where new, without).
        implicit: of the reports that may, those that never name the disease. Reports of a history may not, nor negative
            reports in doubt or compared.
        misspelling: of the words of five letters or more.

    Raises:
        ValueError: where n is not positive or a share lies outside of 0 to 1.
    """
    _check(n, prevalence=prevalence, hedged=hedged, history=history, compared=compared, implicit=implicit,
           misspelling=misspelling)
    present = torch.randperm(n, generator=generator, device=generator.device) < round(prevalence * n)
    patients = (_chance(n, 0.85, generator).long().cumsum(0) - 1).clamp_min(0)
    patients -= patients[0].clone()
    doubt, past, earlier = (_chance(n, share, generator) for share in (hedged, history, compared))
    unnamed = _chance(n, implicit, generator) & ~past & (present | ~(doubt | earlier))
    people = int(patients[-1]) + 1
    return Parameters(present=present, acute=_chance(n, 0.75, generator), central=_chance(n, 0.5, generator),
                      implicit=unnamed, hedged=doubt, history=past, compared=earlier,
                      routine=_chance(n, 0.25, generator), woman=_chance(people, 0.5, generator)[patients],
                      age=_whole(people, 19, 94, generator)[patients],
                      year=_whole(people, 2012, 2018, generator)[patients],
                      misspelling=misspelling, patients=patients, seeds=_whole(n, 0, 2 ** 40, generator))


def render(parameters: Parameters) -> Reports:
    """The texts and labels of the parameters; the same parameters give the same texts."""
    absent, patients = ~parameters.present, parameters.patients.cpu()
    labels = {name: getattr(parameters, name).long().masked_fill(absent, ABSENT).cpu() for name in ("acute", "central")}
    return Reports(texts=tuple(map(write, _truths(parameters))), present=parameters.present.long().cpu(), **labels,
                   patients=patients, parameters=parameters)


def make(n: int, generator: torch.Generator, **knobs: float) -> Reports:
    """n reports: ``draw`` (which takes the knobs), then ``render``."""
    return render(draw(n, generator, **knobs))


def _truths(parameters: Parameters) -> Sequence[Truth]:
    names = [name for name in Truth._fields if name not in ("misspelling", "seed")]
    columns = [getattr(parameters, name).tolist() for name in names]
    return [Truth(*row, parameters.misspelling, seed)
            for *row, seed in zip(*columns, parameters.seeds.tolist(), strict=True)]


def _check(n: int, **shares: float) -> None:
    if n <= 0:
        raise ValueError(f"the number of reports is {n}, but must be positive")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is {share}, but is a share and must lie between 0 and 1")


def _chance(n: int, share: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator, device=generator.device) < share


def _whole(n: int, low: int, high: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high, (n,), generator=generator, device=generator.device)
