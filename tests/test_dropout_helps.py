"""The study behind dropout-helps: shares of dropped activations, all else equal."""

from dataclasses import replace

from companion.studies import dropout_helps as study
from companion.studies.remedies import Remedy


def test_only_the_share_differs_and_the_usual_one_is_among_them():
    assert all(replace(remedy, dropout=0) == Remedy() for remedy in study.SETTINGS.values())
    assert [remedy.dropout for remedy in study.SETTINGS.values()] == list(study.SHARES)
    assert study.USUAL == 0.5 and str(study.USUAL) in study.SETTINGS
