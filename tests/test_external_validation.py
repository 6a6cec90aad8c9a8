"""The study behind *External validation*: two hospitals, the same patients, one difference at a time."""

import pytest
import torch
from torch import nn

from companion.datasets.phantoms import chest, chest_film
from companion.hardware import Hardware
from companion.studies import external_validation as study
from companion.studies.external_validation import ALL, SETTINGS, Film


@pytest.fixture
def small(monkeypatch):
    """Few films of 16 x 16 pixels, one epoch."""
    for name, value in {"SIZE": 16, "TRAIN": 40, "TEST": 40, "LOCAL": 40, "EPOCHS": 1}.items():
        monkeypatch.setattr(study, name, value)


@pytest.fixture
def people(small, generator):
    return study.patients(10, "A", generator)


def test_the_settings_are_all_that_makes_a_film_but_its_noise():
    fields = [field for names in SETTINGS.values() for field in names]
    assert sorted([*fields, "seeds"]) == sorted(Film.__dataclass_fields__)


def test_patients_have_the_case_mix_of_their_hospital(small, generator):
    shares = {hospital: study.patients(10, hospital, generator).labels.sum().item() for hospital in "AB"}
    assert shares == {"A": 3, "B": 7}


def test_a_film_is_the_phantoms_film(small):
    drawn = chest.draw(6, torch.Generator().manual_seed(2), hospital="B", prevalence=None)
    film = chest_film.draw(torch.ones(6, dtype=torch.long), 1.0, torch.Generator().manual_seed(3))
    people = study.Patients(chest.line_integrals(drawn, 16)[:, 0], drawn.labels, film, film)
    oracle = chest.Radiographs(drawn.anatomy, drawn.signs, film, drawn.labels, drawn.hospitals)
    torch.testing.assert_close(study.photograph(people), chest.render(oracle, 16).images)


def test_with_all_of_b_it_is_a_film_of_b_with_the_noise_of_a(people):
    like_b = people._replace(at_a=study.replace(people.at_b, seeds=people.at_a.seeds))
    assert torch.equal(study.photograph(people, *ALL), study.photograph(like_b))
    assert (people.at_a.letter == 0).all() and (people.at_b.letter == 1).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_changes_the_films(people, name):
    changed = study.photograph(people, name) - study.photograph(people)
    assert (changed.flatten(1).abs().amax(1) > 0.005).sum() >= 5         # a pixel is wider than some shutters


def test_shutters_change_the_border_alone_and_the_marker_its_places(people):
    changed = {name: (study.photograph(people, name) - study.photograph(people))[:, 0] for name in ALL}
    assert not changed["shutters"][:, 2:-2, 2:-2].any()
    assert changed["marker"][:, 6:].abs().max() < 0.001                     # both markers lie in the upper third


def test_centred_films_have_mean_film_zero_and_spread_one(people):
    films = study.photograph(people)
    centred = study.Centred(films)(films)
    assert centred.mean(0).abs().max() < 1e-5 and centred.std() == pytest.approx(1, abs=1e-4)


def test_what_is_judged_by_hand():
    found = study.judge(torch.logit(torch.tensor([0.9, 0.9, 0.2, 0.2])), torch.tensor([1, 0, 1, 0]))
    assert found["AUC"] == 0.5
    assert found["calibration error"] == pytest.approx((0.4 + 0.3) / 2)
    assert found["excess"] == pytest.approx(0.05)


def test_predictions_keep_the_order_of_the_films(device):
    class Mean(nn.Module):
        """The mean of each film."""

        def forward(self, films):
            return films.mean((2, 3))

    films = torch.arange(450.0).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    assert torch.equal(study.read(Mean(), films, Hardware(device)), torch.arange(450.0))


def test_a_run_has_all_numbers_and_the_differences_it_says(small, device):
    found = study.run(0, device)
    if device.type == "cpu":
        assert study.run(0, device) == found
    for name in (*ALL, "patients of A, films of B", "patients of B, films of A", "B", "mixed, A"):
        for what in ("AUC", "calibration error", "excess"):
            assert found[f"{name}: {what}, change"] == found[f"{name}: {what}"] - found[f"A: {what}"]
    assert found["mixed, B: AUC, change"] == found["mixed, B: AUC"] - found["B: AUC"]
    assert abs(found["recalibrated, B: AUC"] - 0.5) == pytest.approx(abs(found["B: AUC"] - 0.5), abs=1e-9)
    assert found["B: AUC less that end"] == found["B: AUC"] - found["A: lower end of the AUC"]
    assert len(found) == 11 * 3 + 10 * 3 + 2
