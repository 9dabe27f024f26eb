"""What a search looks like: the course of its trials, what mattered, and the Pareto set."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

from adloc.metrics.registry import METRICS
from adloc.record.files import read_checked, write_checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from adloc.tuning.search import Search
    from adloc.tuning.trial_records import TrialRecord

BLUE, GREY, ORANGE = "#2463a8", "#b4b4b4", "#d9730d"


def draw_search(search: Search, trials: Sequence[TrialRecord], importances: Mapping[str, float], folder: Path) -> None:
    """Write history.png, importances.png, for several objectives pareto.png, and best.json into a folder.

    Args:
        search: what was searched.
        trials: all of them.
        importances: share of each hyperparameter; empty where there is none to share.
        folder: made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.png"), folder / "best.json"):  # of another revision, which had other objectives
        old.unlink(missing_ok=True)
    best = search.best(trials)
    names = search.config.objectives
    rows = [{"trial": t.number, "params": t.params, "figures": t.figures, "categories": t.categories} for t in best]
    done = [t for t in trials if t.state == "complete"]
    if done:
        _save(_history(search, done, best), folder / "history.png")
    if importances:
        _save(_bars(importances, names[0]), folder / "importances.png")
    if done and len(names) > 1:
        _save(_pareto(search, done, best), folder / "pareto.png")
    # Last of all: it says that the rest is there.
    write_checked(folder / "best.json", {"trials": _count(trials), "importances": dict(importances), "best": rows})


def is_drawn(trials: Sequence[TrialRecord], folder: Path) -> bool:
    """Whether the folder shows these very trials."""
    try:
        content = json.loads(read_checked(folder / "best.json"))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(content, dict) and content.get("trials") == _count(trials)


def _count(trials: Sequence[TrialRecord]) -> dict[str, int]:
    return {"revision": trials[0].revision if trials else 0, "number": len(trials)}


def _history(search: Search, done: Sequence[TrialRecord], best: Sequence[TrialRecord]) -> Figure:
    """Every trial, and the best so far, for each objective."""
    names = search.config.objectives
    figure = _figure(len(names))
    for axes, name, up in zip(figure.axes, names, search.higher_is_better, strict=True):
        values = [float(t.figures[name] or 0.0) for t in done]
        axes.scatter([t.number for t in done], values, s=16, color=GREY, label="trial")
        so_far = search.course(done, name, higher=up)
        axes.step([n for n, _ in so_far], [v for _, v in so_far], where="post", color=BLUE, label="best so far")
        if done[0].number == 0:
            axes.axhline(values[0], color=ORANGE, linestyle=":", linewidth=1, label="untuned")
        chosen = [t for t in best if t in done]
        axes.scatter(
            [t.number for t in chosen], [float(t.figures[name] or 0.0) for t in chosen], s=60, facecolors="none",
            edgecolors=BLUE, label="chosen",
        )  # fmt: skip
        axes.set(xlabel="trial", ylabel=METRICS[name].title, title=search.name)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _bars(importances: Mapping[str, float], objective: str) -> Figure:
    """What share of the spread each hyperparameter explains."""
    figure = _figure(1)
    (axes,) = figure.axes
    names = list(importances)[::-1]
    axes.barh(names, [importances[n] for n in names], color=BLUE)
    axes.set(xlabel=f"importance for {METRICS[objective].title} (PED-ANOVA)")
    return figure


def _pareto(search: Search, done: Sequence[TrialRecord], best: Sequence[TrialRecord]) -> Figure:
    """Every pair of objectives, the Pareto set in colour."""
    pairs = list(combinations(search.config.objectives, 2))
    figure = _figure(len(pairs))
    untuned = [t for t in done if t.number == 0]
    for axes, (x, y) in zip(figure.axes, pairs, strict=True):
        for trials, colour, label in ((done, GREY, "trial"), (best, BLUE, "Pareto set"), (untuned, ORANGE, "untuned")):
            points = [(float(t.figures[x] or 0.0), float(t.figures[y] or 0.0)) for t in trials]
            axes.scatter([p[0] for p in points], [p[1] for p in points], s=24, color=colour, label=label)
        axes.set(xlabel=METRICS[x].title, ylabel=METRICS[y].title, title=search.name)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _figure(n_axes: int) -> Figure:
    """A figure outside pyplot, whose global state stays as it is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * n_axes, 4.0), layout="constrained")
    figure.subplots(1, n_axes)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110)
