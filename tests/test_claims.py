"""The list of claims, the three ways to check one, and what is found in the notebooks."""

import json
from collections import Counter
from pathlib import Path

import pytest

from companion import claims
from companion.claims import Claim, ClaimError, Estimate

ROOT = Path(__file__).resolve().parents[1]


def first(kind: str) -> str:
    return next(c.id for c in claims.load().values() if c.kind == kind)


def test_the_list_is_complete_and_well_formed():
    listed = claims.load()
    assert len(listed) == 92
    assert Counter(c.part for c in listed.values()) == {
        "big-picture": 7, "building-blocks": 26, "training": 12, "overfitting": 9, "transfer-learning": 10,
        "radiology-applications": 19, "interpretability": 9}
    for claim in listed.values():
        assert claim.kind in claims.KINDS
        assert all(isinstance(v, str) and v.strip() for v in vars(claim).values())
        assert claim.says.endswith(".") and claim.test.endswith(".")


def test_ids_are_unique_in_the_file():
    text = (ROOT / "companion" / "claims.toml").read_text(encoding="utf-8")
    assert text.count("[[claim]]") == len(claims.load())


def test_exact_holds_or_raises():
    assert claims.exact(first("exact"), True, "checked").outcome == "holds"
    with pytest.raises(ClaimError, match="does not hold"):
        claims.exact(first("exact"), False, "checked")


@pytest.mark.parametrize(("met", "outcome"), [([True, True], "supported"), ([True, False], "mixed"),
                                              ([False, False], "not supported")])
def test_measured_outcome_follows_from_the_conditions(met, outcome):
    conditions = {f"condition {i}": m for i, m in enumerate(met)}
    finding = claims.measured(first("measured"), conditions, {"gain": Estimate(1, 0.5, 1.5, 5)})
    assert finding.outcome == outcome
    assert finding.evidence[0].startswith("yes:" if met[0] else "no:")
    assert finding.evidence[-1] == "gain: 1 (95 % interval 0.5 to 1.5, 5 seeds)"


@pytest.mark.parametrize("missing", ["conditions", "estimates"])
def test_measured_needs_conditions_and_numbers(missing):
    given = {"conditions": {"a": True}, "estimates": {"b": Estimate(0, 0, 0, 5)}} | {missing: {}}
    with pytest.raises(ValueError, match="at least one condition"):
        claims.measured(first("measured"), **given)


def test_wrong_kind_and_unknown_id_are_refused():
    with pytest.raises(ValueError, match="is measured, but was checked as exact"):
        claims.exact(first("measured"), True, "")
    with pytest.raises(ValueError, match="is exact, but was checked as stated"):
        claims.stated(first("exact"), "")
    with pytest.raises(ValueError, match="conv-shrinks"):
        claims.exact("conv-shrink", True, "")


def test_finding_shows_itself_as_html_text_and_data():
    claim = Claim("a-b", "training", "Fig. 1", "exact", "x < y & z", "")
    bundle = claims.Finding(claim, "not supported", ("1 < 2",))._repr_mimebundle_()
    assert 'id="claim-a-b"' in bundle["text/html"] and "claim-not-supported" in bundle["text/html"]
    assert "x &lt; y &amp; z" in bundle["text/html"] and "1 &lt; 2" in bundle["text/html"]
    assert bundle["text/plain"].splitlines()[1] == "  x < y & z"
    assert bundle[claims.MIME] == {"id": "a-b", "outcome": "not supported", "evidence": ["1 < 2"]}


@pytest.mark.parametrize("value", [0.9, 0.97, 1.0])
def test_within_accepts_what_lies_inside(value):
    bundle = claims.within("accuracy", value, 0.95, 0.05)._repr_mimebundle_()
    assert bundle["text/plain"] == "accuracy: expected 0.95, may differ by up to 0.05"
    assert bundle["image/png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("value", [0.89, 1.01, float("nan"), float("inf")])
def test_within_raises_outside(value):
    with pytest.raises(ClaimError, match="should lie within 0.05 of 0.95"):
        claims.within("accuracy", value, 0.95, 0.05)


def test_each_claim_is_checked_in_at_most_one_place_and_all_of_part_1_are():
    found = claims.collect(ROOT / "book")
    assert not {c: w for c, w in found.items() if len(w) > 1}
    assert set(found) <= set(claims.load())
    part1 = {c.id for c in claims.load().values() if c.part == "building-blocks"}
    assert not (part1 | {"image-is-array", "three-layer-types", "feature-anywhere"}) - set(found)


def test_collect_reads_findings_from_stored_outputs(tmp_path):
    finding = {"id": "x", "outcome": "holds", "evidence": []}
    cells = [{"cell_type": "code", "outputs": [{"data": {claims.MIME: finding}}]}, {"cell_type": "markdown"}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    assert claims.collect(tmp_path) == {"x": [(tmp_path / "a.ipynb", finding)]}
