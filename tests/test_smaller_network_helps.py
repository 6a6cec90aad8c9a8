"""The study behind smaller-network-helps: width and depth, all else equal."""

from dataclasses import replace

from companion.studies import smaller_network_helps as study
from companion.studies.remedies import REMEDIES, Remedy


def test_only_the_architecture_differs_and_factors_are_as_named():
    plain = Remedy()
    assert all(replace(remedy, widths=plain.widths, hidden=plain.hidden) == plain
               for remedy in study.SETTINGS.values())
    for name, factor in {"a quarter as wide": 0.25, study.USUAL: 0.5, "twice as wide": 2}.items():
        one = study.SETTINGS[name]
        assert [*one.widths, one.hidden] == [factor * number for number in (*plain.widths, plain.hidden)]
    assert study.SETTINGS["no hidden layer"] == replace(plain, hidden=0)
    assert study.SETTINGS[study.USUAL] == REMEDIES["smaller network"]
