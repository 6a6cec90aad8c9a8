"""Which patient is in which set: the three sets of Fig. 8, and the rounds of cross-validation. Book: Part 2."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.groups import MARKERS
from companion.plotting.style import BLUE, CYCLE, GREY, ORANGE, RED, figure

LOOKS = ((BLUE, ".", 4.0), (ORANGE, "D", 4.2), (RED, "s", 5.0))
"""Colour, marker and size of what serves to train, to choose and to test."""


def sets(parts: Mapping[str, tuple[Tensor, Tensor]], classes: Sequence[str],
         roles: Mapping[str, str] | None = None) -> Figure:
    """Sets side by side (after Fig. 8 of the review): a column for each patient, a marker for each image.

    Classes are told apart by colour and by marker. A patient who is in two sets has a dot below, in both of them.

    Args:
        parts: by name, the patient numbers (N,) and class numbers (N,) of the images of a set.
        classes: their names.
        roles: by the same names, what the set is for, in a few words; lines may be broken.
    """
    owners = {name: set(patients.tolist()) for name, (patients, _) in parts.items()}
    tallest = max(int(patients.bincount().max()) for patients, _ in parts.values())
    fig = figure(7.4, 2.0 + 0.2 * tallest)
    axes = fig.subplots(1, len(parts), width_ratios=[max(len(o), 14) for o in owners.values()], sharey=True,
                        squeeze=False)[0]
    for ax, (name, (patients, labels)) in zip(axes, parts.items(), strict=True):
        elsewhere = set().union(*(o for other, o in owners.items() if other != name))
        _columns(ax, patients.tolist(), labels.tolist(), len(classes), elsewhere)
        ax.set_title(f"{name}\n{len(owners[name])} patients,\n{len(patients)} images", fontsize=9, loc="left")
        ax.set(xticks=[], ylim=(-0.2, tallest + 0.6), xlim=(-0.7, max(len(owners[name]), 14) - 0.3))
        ax.set_xlabel((roles or {}).get(name, ""))
    axes[0].set(ylabel="images of a patient", yticks=range(1, tallest + 1))
    handles = [axes[0].plot([], [], MARKERS[k], color=CYCLE[k], label=kind)[0] for k, kind in enumerate(classes)]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(classes))
    return fig


def rounds(rows: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Rounds of cross-validation below each other: a row for each round, a column for each patient.

    The columns are sorted by the round in which a patient serves the last role, such as testing.

    Args:
        rows: by the name of a round, the patient numbers (N,) by role: training first, then one or two roles that hold
            patients out. All rounds have the same roles and share out the same patients.

    Raises:
        ValueError: where a patient has two roles in a round, or none.
    """
    places = {row: _roles(row, parts) for row, parts in rows.items()}
    everyone = set().union(*places.values())
    for row, given in places.items():
        if missing := sorted(everyone - set(given)):
            raise ValueError(f"the round {row!r} has no role for {len(missing)} patients, such as {missing[:3]}: give "
                             "each patient one in every round")
    last = len(next(iter(rows.values()))) - 1
    columns = {p: [given[p] for given in places.values()] for p in sorted(everyone)}
    order = sorted(columns, key=lambda p: (columns[p].index(last) if last in columns[p] else len(rows),
                                           [-role for role in columns[p]]))
    fig = figure(7.4, 1.0 + 0.2 * len(rows))
    _matrix(fig.subplots(), [[columns[p][i] for p in order] for i in range(len(rows))], list(rows))
    handles = [fig.axes[0].plot([], [], marker, color=color, markersize=size + 1, linestyle="", label=name)[0]
               for name, (color, marker, size) in zip(next(iter(rows.values())), LOOKS, strict=False)]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return fig


def _columns(ax: Axes, patients: list[int], labels: list[int], classes: int, elsewhere: set[int]) -> None:
    """Patients with most images first; their images one above the other."""
    order = sorted(set(patients), key=lambda p: (-patients.count(p), labels[patients.index(p)], p))
    height = dict.fromkeys(order, 0)
    points: list[list[tuple[int, int]]] = [[] for _ in range(classes)]
    for patient, label in zip(patients, labels, strict=True):
        height[patient] += 1
        points[label].append((order.index(patient), height[patient]))
    for kind, found in enumerate(points):
        ax.plot([x for x, _ in found], [y for _, y in found], MARKERS[kind], color=CYCLE[kind], markersize=5.5)
    shared = [x for x, patient in enumerate(order) if patient in elsewhere]
    ax.plot(shared, [0.2] * len(shared), ".", color=GREY, markersize=5)


def _roles(row: str, parts: Mapping[str, Tensor]) -> dict[int, int]:
    """The number of the role of each patient in a round."""
    found: dict[int, int] = {}
    for role, patients in enumerate(parts.values()):
        for patient in set(patients.tolist()):
            if patient in found:
                raise ValueError(f"patient {patient} has two roles in the round {row!r}: take folds that share no "
                                 "patient")
            found[patient] = role
    return found


def _matrix(ax: Axes, roles: list[list[int]], names: list[str]) -> None:
    for number, (color, marker, size) in enumerate(LOOKS):
        found = [(x, y) for y, row in enumerate(roles) for x, role in enumerate(row) if role == number]
        ax.plot([x for x, _ in found], [y for _, y in found], marker, color=color, markersize=size)
    ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6), xlim=(-1, len(roles[0])),
           xticks=[], xlabel=f"{len(roles[0])} patients, one column each")
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
