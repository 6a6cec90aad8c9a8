"""Synthetic reports: labels that the text bears out, sentences that are whole, words enough, slips as asked."""

import re
from collections import Counter
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.datasets import reports, reports_findings, reports_grammar, reports_slips, reports_text

DISEASE = re.compile(r"embol|\bPE\b", re.IGNORECASE)
RAW = reports_grammar.read("reports.toml")["rules"]
RAW_TOPICS = reports_grammar.read("reports_findings.toml")["topic"]
HEADINGS = "|".join(re.escape(h) for name, rule in RAW.items() if name.startswith("heading_") for h in rule)
WAYS = [(age, words, place) for age in ("acute", "chronic") for words in ("explicit", "implicit")
        for place in ("central", "peripheral")]


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def plain() -> reports.Reports:
    """2000 reports without slips."""
    return reports.make(2000, stream(0), misspelling=0)


def section(text: str, *names: str) -> str:
    """The text under one of the headings."""
    return re.search(rf"(?:^|\n\n)(?:{'|'.join(names)}):\s(.*?)(?=\n\n|$)", text, re.S | re.I)[1]


def impressions(texts):
    return [section(t, *RAW["heading_impression"]) for t in texts]


def having(made: reports.Reports, *names: str, **flags: bool) -> list[str]:
    """The texts of the reports whose parameters are as given."""
    keep = torch.ones(len(made), dtype=torch.bool)
    for name in names:
        keep &= getattr(made.parameters, name)
    for name, value in flags.items():
        keep &= getattr(made.parameters, name) == value
    return [made.texts[i] for i in keep.nonzero()[:, 0].tolist()]


def writer(age="acute", words="explicit", place="central", seed=0) -> reports_grammar.Writer:
    truth = reports_text.Truth(present=True, acute=age == "acute", central=place == "central", hedged=False, woman=True,
                               implicit=words == "implicit", history=False, compared=False, routine=False, age=63,
                               year=2015, misspelling=0.0, seed=seed)
    return reports_text._writer(truth, reports_text.grammar()[0])


def assert_whole(text: str):
    assert not re.search(r"[{}<>|]|=>", text), f"unfilled: {text}"
    assert not re.search(r"  | [,.;:?]|[,;:][.?]|\.\.", text), f"spaces or stops: {text}"
    assert re.match(r"[A-Z0-9]", text) and text[-1] in ".?", f"start or end: {text}"
    assert not re.search(r"[.?] [a-z]", text), f"a sentence starts small: {text}"
    assert not re.search(r"\b[Aa] [aeio]|\b[Aa]n [^aeiou8A-Z1]", text), f"article: {text}"
    assert not re.search(r"\b(\w+) \1\b", text), f"a word twice: {text}"


# --- labels -------------------------------------------------------------------------------------------------------

def test_same_seed_same_reports_and_another_seed_others():
    first, again = reports.make(100, stream(0)), reports.make(100, stream(0))
    assert again.texts == first.texts and torch.equal(again.present, first.present)
    assert reports.render(first.parameters).texts == first.texts
    assert not set(reports.make(100, stream(1)).texts) & set(first.texts)


@pytest.mark.parametrize("prevalence, expected", [(0, 0), (0.3, 18), (0.512, 31), (1, 60)])
def test_prevalence_is_kept_to_one_report(prevalence, expected):
    assert reports.make(60, stream(3), prevalence=prevalence).present.sum() == expected


def test_labels_are_the_truth_and_absent_ones_are_marked(plain):
    there, parameters = plain.present == 1, plain.parameters
    assert torch.equal(there, parameters.present)
    for name in ("acute", "central"):
        label = getattr(plain, name)
        assert torch.equal(label[there], getattr(parameters, name)[there].long())
        assert (label[~there] == reports.ABSENT).all() and set(label[there].tolist()) == {0, 1}


@pytest.mark.parametrize("sign, label", [
    (r"positive for|study is positive", 1),
    (r"^(1\. )?(acute|chronic) (PE|pulmonary embol)\w* (in|involving|suspected)", 1),
    (r"(probable|likely|suspected) (acute|chronic) (PE|pulmonary embol)", 1),
    (r"negative for|no evidence of (pulmonary embol|PE)|(PE|pulmonary embol\w+) is (excluded|not)", 0),
    (r"^(1\. )?no (incidental |)(pulmonary embol|PE)|ruled out to the", 0),
    (r"emboli cannot be (entirely |)excluded|no residual or new", 0)])
def test_impressions_that_a_reader_needs_no_doubt_about(plain, sign, label):
    found = [i for i, text in enumerate(impressions(plain.texts)) if re.search(sign, text, re.I)]
    assert len(found) >= 10 and set(plain.present[found].tolist()) == {label}


def test_every_positive_report_names_its_artery_and_age(plain):
    for text in having(plain, "present", "central"):
        assert any(vessel in text for vessel in RAW["central"])
    for text in having(plain, "present", central=False):
        assert any(vessel in text for vessel in RAW["peripheral"])
    chronic = having(plain, "present", acute=False)
    assert all("chronic" in text.lower() for text in impressions(chronic))
    acute = having(plain, "present", acute=True)
    artery = re.compile(r"[^.\n]*pulmonary artery[^.\n]*")
    assert not [s for t in impressions(acute) for s in artery.findall(t) if "chronic" in s.lower()]


def test_the_name_of_the_disease_does_not_give_the_label_away(plain):
    implicit = having(plain, "implicit")
    assert not [t for t in implicit if DISEASE.search(t)]
    positive, negative = having(plain, "present"), having(plain, present=False)
    silent = [t for t in positive if not DISEASE.search(t)]
    assert len(silent) > 0.15 * len(positive)
    assert sum("embolism" in t for t in negative) > 0.5 * len(negative)
    assert sum("filling defect" in t.lower() for t in negative) > 0.1 * len(negative)


# --- difficulty ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("pattern, present, least", [
    (r"[Nn]o evidence of|negative for", 0, 150), (r"without (evidence of|filling defect|\w+ emboli)", 0, 50),
    (r"is (excluded|not identified|not seen)|ruled out to", 0, 30), (r"fails to demonstrate|absence of", 0, 20),
    (r"cannot be (entirely |definitively |)(excluded|ruled out)", 0, 80),
    (r"(questionable|equivocal|apparent|subtle) filling defect", 0, 20),
    (r"suspicious for|likely|probabl|suspected", 1, 100), (r"has (completely |)resolved|no longer", 0, 50),
    (r"history of [^.]*(embol|PE) ?[^.]*\d{4}|status post [^.]*(embol|PE)", 0, 60),
    (r"this (is|finding is|has|was)|clot burden has|degree of obstruction", 1, 60)])
def test_negation_doubt_history_and_change_occur(plain, pattern, present, least):
    texts = having(plain, present=bool(present))
    assert sum(bool(re.search(pattern, text, re.I)) for text in texts) >= least


@pytest.mark.parametrize("knob, pattern", [
    ("hedged", r"likely|probabl|suspect|suspicious|consistent|excluded|limit|degrade|questionable|equivocal|compatible|"
               r"suggestive|artifact|apparent|subtle|ruled out"),
    ("history", r"\b20\d\d\b"),
    ("compared", r"resol|residual|clearance|since|compar|relative|no longer|not present|prior")])
def test_knobs_reach_every_report(knob, pattern):
    others = {name: 0 for name in ("hedged", "history", "compared", "implicit")}
    made = reports.make(150, stream(4), **others | {knob: 1}, misspelling=0)
    assert all(re.search(pattern, text, re.I) for text in made.texts)
    assert not getattr(reports.draw(150, stream(4), **others), knob).any()


def test_text_has_at_least_1500_words_and_most_occur_often(plain):
    counts = Counter(re.findall(r"[a-z]{2,}", " ".join(plain.texts).lower()))
    assert len(counts) >= 1500 and counts.total() / len(plain) > 100
    assert sum(count >= 5 for count in counts.values()) > 0.9 * len(counts)


def test_sides_and_places_stand_in_parallel_contexts(plain):
    text = " ".join(plain.texts).lower()
    for pair in [("right upper lobe", "left upper lobe"), ("right middle lobe", "lingula"),
                 ("tricuspid", "mitral"), ("dextroscoliosis", "levoscoliosis")]:
        counts = [text.count(words) for words in pair]
        assert min(counts) > 15 and max(counts) < 4 * min(counts), pair


# --- language -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("age, words, place", WAYS)
def test_every_rule_makes_whole_sentences(age, words, place):
    rules = reports_text.grammar()[0]
    for name, phrases in rules.items():
        for number, phrase in enumerate(phrases):
            for seed in range(2):
                text = phrase(writer(age, words, place, seed))
                if name != "after" and not name.startswith("extent"):
                    assert_whole(reports_grammar.finish(text)), (name, number)


def test_every_topic_makes_whole_sentences():
    for topic in reports_findings.topics():
        for seed in range(4):
            for phrase in (*topic.normal, *topic.impression * (not topic.found)):
                assert_whole(reports_grammar.finish(phrase(writer(seed=seed))))
            for finding, impression in topic.found:
                one = writer(seed=seed)
                assert_whole(reports_grammar.finish(finding(one)))
                for phrase in (impression,) if impression else topic.impression:
                    assert_whole(reports_grammar.finish(phrase(one)))


def test_impressions_only_repeat_what_the_finding_says():
    for topic in RAW_TOPICS:
        for text in topic["found"]:
            finding, _, own = text.partition(" => ")
            kept = set(re.findall(r"\{=(\w+)\}", finding))
            for impression in [own] if own else topic.get("impression", []):
                assert set(re.findall(r"\{=(\w+)\}", impression)) <= kept, (topic["name"], text)


def test_whole_reports_have_their_sections_in_order_and_whole_sentences(plain):
    for text in plain.texts[:300]:
        places = [re.search(rf"(?:^|\n\n)(?:{'|'.join(RAW[f'heading_{name}'])}):", text, re.I).start()
                  for name in reports_text.SECTIONS]
        assert places == sorted(places)
        for line in text[places[1]:].split("\n"):                  # the examination's name is no sentence
            if body := re.sub(rf"^(\d\. |({HEADINGS}):\s?)+", "", line, flags=re.I):
                assert_whole(body)


def test_nothing_is_called_normal_beside_its_opposite(plain):
    for text in plain.texts:
        findings = section(text, *RAW["heading_findings"])
        for normal, abnormal in [("No pleural effusion", "eural effusions? (with|and)|bilateral pleural effusion"),
                                 ("No pneumothorax", "(apical|basilar) pneumothorax"),
                                 ("No acute osseous", "[Bb]urst fracture"),
                                 ("No suspicious pulmonary nodule", "pulmonary metastases")]:
            assert not (normal in findings and re.search(abnormal, findings)), findings


def test_right_heart_strain_goes_with_embolism(plain):
    share = [sum("right heart strain" in t and "RV/LV ratio of" in t for t in having(plain, present=there))
             / len(having(plain, present=there)) for there in (True, False)]
    assert share[0] > 4 * share[1] > 0


@pytest.mark.parametrize("text, expected", [
    ("a 8 mm nodule", "An 8 mm nodule."), ("a 18 mm nodule", "An 18 mm nodule."), ("a 12 mm nodule", "A 12 mm nodule."),
    ("a unilateral effusion", "A unilateral effusion."), ("a unchanged effusion", "An unchanged effusion."),
    ("a IVC filter", "An IVC filter."), ("a PICC", "A PICC."), ("no clot. again, none?", "No clot. Again, none?"),
    ("a  acute embolus .", "An acute embolus.")])
def test_finishing_touches(text, expected):
    assert reports_grammar.finish(text) == expected


def test_slots_by_hand():
    rules = {"side": ["right", "left"], "pair": ["{=side}, <twice|twice> {=side} {7..7}"]}
    rules = reports_grammar.compile_rules(rules)
    for seed in range(8):
        text = reports_grammar.Writer(rules, Random(seed)).phrase("pair")
        assert text in ("right, twice right 7", "left, twice left 7")


# --- slips --------------------------------------------------------------------------------------------------------

def test_slips_come_at_the_rate_asked_and_change_nothing_else():
    clean, slipped = (reports.make(200, stream(0), misspelling=rate) for rate in (0, 0.1))
    assert torch.equal(slipped.present, clean.present)
    pairs = [(a, b) for one, other in zip(clean.texts, slipped.texts, strict=True)
             for a, b in zip(re.findall(r"[A-Za-z]+", one), re.findall(r"[A-Za-z]+", other), strict=True)]
    may = [a != b for a, b in pairs if re.fullmatch(r"[A-Za-z][a-z]{4,}", a)]
    assert sum(may) / len(may) == pytest.approx(0.1, abs=0.01)
    assert all(a == b for a, b in pairs if not re.fullmatch(r"[A-Za-z][a-z]{4,}", a))
    heard = reports_text.grammar()[1].values()
    assert all(a[0] == b[0] or b.lower() in heard for a, b in pairs)


def test_slips_by_hand():
    alike = {"pleural": "plural"}
    heard = {reports_slips.misspell("Pleural", 1, Random(s), alike) for s in range(60)}
    assert "Plural" in heard and {"Plerual", "Pleual", "Pleuural"} & heard and "Pleural" not in heard
    assert reports_slips.misspell("No PE or RV/LV clot", 1, Random(0), alike) == "No PE or RV/LV clot"


def test_default_puts_a_slip_into_about_one_report_in_ten():
    made, clean = reports.make(300, stream(0)), reports.make(300, stream(0), misspelling=0)
    assert 0.05 < sum(a != b for a, b in zip(made.texts, clean.texts, strict=True)) / 300 < 0.2


# --- the container ------------------------------------------------------------------------------------------------

def test_patients_have_one_sex_and_age_and_can_be_selected(plain):
    first = {}
    for patient, *person in zip(plain.patients.tolist(), plain.parameters.woman.tolist(),
                                plain.parameters.age.tolist(), strict=True):
        assert first.setdefault(patient, person) == person
    assert 0.8 < len(first) / len(plain) < 0.9 and sorted(first) == list(range(len(first)))
    some = plain.select(torch.tensor([7, 3]))
    assert some.texts == (plain.texts[7], plain.texts[3]) and some.parameters is None and len(some) == 2
    assert plain.select(plain.present >= 0).texts == plain.texts
    assert plain.select(plain.patients == plain.patients[3]).texts[0] in plain.texts
    assert some[1] == (plain.texts[3], plain.present[3])
    assert torch.equal(some.acute, plain.acute[[7, 3]]) and torch.equal(some.patients, plain.patients[[7, 3]])


def test_drawing_works_on_any_device(device):
    made = reports.make(5, torch.Generator(device).manual_seed(0))
    assert made.present.device.type == "cpu" and len(made.texts) == 5


@settings(deadline=None, derandomize=True, max_examples=25)
@given(n=st.integers(1, 6), seed=st.integers(0, 2 ** 31), shares=st.tuples(*[st.floats(0, 1)] * 6))
def test_any_shares_give_reports(n, seed, shares):
    knobs = dict(zip(("prevalence", "hedged", "history", "compared", "implicit", "misspelling"), shares, strict=True))
    made = reports.make(n, stream(seed), **knobs)
    assert len(made) == n and made.present.sum() == round(shares[0] * n)
    assert not any(re.search(r"[{}<>|]|  ", text) for text in made.texts)


@pytest.mark.parametrize("n, knobs, match", [
    (0, {}, "number of reports is 0"), (5, {"hedged": 1.5}, "hedged is 1.5"),
    (5, {"prevalence": -0.1}, "prevalence is")])
def test_what_cannot_be_drawn_is_refused(n, knobs, match):
    with pytest.raises(ValueError, match=match):
        reports.draw(n, stream(0), **knobs)


def test_a_container_of_different_lengths_is_refused(plain):
    with pytest.raises(ValueError, match="2 texts, but 2000 present"):
        reports.Reports(plain.texts[:2], plain.present, plain.acute, plain.central, plain.patients)


@pytest.mark.parametrize("text", ["<right|left", "right>", "{side", "a } b"])
def test_a_phrase_with_a_bracket_missing_is_refused(text):
    with pytest.raises(ValueError, match="bracket"):
        reports_grammar.compile_phrase(text)
