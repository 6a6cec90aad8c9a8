"""The study behind weight-decay-small-weights: strengths of the decay, all else equal."""

from dataclasses import replace

from companion.studies import weight_decay_small_weights as study
from companion.studies.remedies import Remedy


def test_only_the_strength_differs_and_the_usual_one_is_among_them():
    assert all(replace(remedy, decay=0) == Remedy() for remedy in study.SETTINGS.values())
    assert [remedy.decay for remedy in study.SETTINGS.values()] == list(study.STRENGTHS)
    assert study.USUAL == 0.01 and str(study.USUAL) in study.SETTINGS
