"""The study of random labels: how labels are spoilt, what is reported."""

import torch

from companion.studies import memorises_noise as study


def test_a_share_of_the_labels_is_wrong_and_none_of_them_right_by_chance():
    labels = torch.arange(10).repeat(20)
    spoilt = study.spoilt(labels, 0.3, torch.Generator().manual_seed(0))
    assert int((spoilt != labels).sum()) == 60
    assert 0 <= spoilt.min() and spoilt.max() <= 9
    assert torch.equal(study.spoilt(labels, 0, torch.Generator()), labels)


def test_random_labels_know_nothing_of_the_old_ones():
    labels = torch.zeros(5000, dtype=torch.long)
    spoilt = study.spoilt(labels, 1, torch.Generator().manual_seed(0))
    counts = torch.bincount(spoilt, minlength=10)
    assert counts.min() > 400 and counts.max() < 600                        # 500 expected, standard deviation 21


def test_development_and_test_labels_stay_correct(monkeypatch):
    seen = {}
    monkeypatch.setattr(study.overfitting_curve, "follow",
                        lambda model, sets, epochs, generator, machine: seen.update(sets=sets))
    study.learn(0, 1.0)
    plain = study.overfitting_curve.digit_sets(0, study.CASES)
    assert torch.equal(seen["sets"].development[1], plain.development[1])
    assert torch.equal(seen["sets"].test[1], plain.test[1])
    assert not torch.equal(seen["sets"].training[1], plain.training[1])
    assert torch.equal(seen["sets"].training[0], plain.training[0])


def test_a_run_reports_end_minus_minimum(monkeypatch, device):
    monkeypatch.setattr(study, "EPOCHS", 2)
    found = study.run(0, device)
    for name in study.LABELS:
        end, low = (found[f"{name}: test accuracy, at the {place}"] for place in ("end", "minimum"))
        assert found[f"{name}: test accuracy, change"] == end - low
