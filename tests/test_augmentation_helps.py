"""The study behind augmentation-helps: each transformation alone, four together, the flip apart."""

from companion.studies import augmentation_helps as study
from companion.studies.remedies import CHANGES, REMEDIES


def test_each_transformation_is_tried_and_only_the_changes_differ():
    alone = {remedy.changes[0] for remedy in study.SETTINGS.values() if len(remedy.changes) == 1}
    assert alone == set(CHANGES["digits"]) == set(CHANGES["nodules"])
    assert study.SETTINGS[study.TOGETHER] == REMEDIES["data augmentation"]
    assert set(study.SETTINGS[study.TOGETHER].changes) == alone - {"flip"}
