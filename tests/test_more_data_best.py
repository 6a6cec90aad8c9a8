"""The study behind more-data-best: all remedies in one run, differences from more data."""

from companion.studies import more_data_best as study
from companion.studies.remedies import CHOSEN, NONE, REMEDIES, TASKS, Remedy


def test_all_others_together_hold_the_settings_of_each_but_more_data():
    assert study.everything() == Remedy(changes=CHOSEN, dropout=0.5, decay=0.01, normalised=True, widths=(4, 8),
                                        hidden=16)


def test_differences_from_each_other_remedy(monkeypatch, device):
    asked = {}

    def compare(settings, seed, device):
        asked.update(settings)
        return {f"{task}, {name}: {what}": float(len(name)) for task in TASKS for name in (NONE, *settings)
                for what in ("gap", "score")}

    monkeypatch.setattr(study, "compare", compare)
    found = study.run(0, device)
    assert set(REMEDIES) < set(asked) and asked[study.FEWER].images == 50 and asked[study.MORE].images == 400
    assert found["nodules, more training data less dropout: gap"] == len(study.MORE) - len("dropout")
    assert len([name for name in found if " less " in name]) == 2 * 2 * (len(REMEDIES) - 1 + 2)
