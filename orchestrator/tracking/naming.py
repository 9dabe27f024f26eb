"""How runs and their values are called in MLflow. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from adloc.printed import printable
from adloc.study_file.conditions import described

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_PARAM = 500  # MLflow cuts silently at 6,000; the UI shows a few dozen


def run_name(
    category: str,
    params: Mapping[str, object],
    varied: Iterable[str],
    tags: Mapping[str, str],
    condition: Mapping[str, object],
) -> str:
    """What tells a run from its neighbours first, for the UI shows two dozen letters: "0.05 bottle clean patchcore".

    MLflow's own commands print names of runs as they are, so nothing in them is an order to a terminal; tags and params
    hold the original.

    Args:
        category: or "macro".
        params: of the run.
        varied: those that the study's grids vary.
        tags: of the run.
        condition: where it stands on the study's axes.
    """
    values = [short(params[k]) for k in varied if k in params]
    scope = f"unified {tags['adloc.threshold_scope']} threshold" if tags["adloc.scope"] == "unified" else ""
    repeat = f"repeat {tags['adloc.repeat']}" if tags["adloc.repeat"] != "0" else ""
    words = (*values, tags.get("adloc.setting"), category, tags["adloc.regime"], *described(condition), scope, repeat)
    return printable(" ".join(word for word in (*words, tags["adloc.method"]) if word))


def metric_part(name: str) -> str:
    """A category's name as part of a metric's: MLflow takes letters, digits, _ - . : and spaces; others by number.

    >>> metric_part("pcb#2 (new)")
    'pcb_x23_2 _x28_new_x29_'
    """
    return re.sub(r"[^\w.\- :]", lambda match: f"_x{ord(match[0]):x}_", name)


def short(value: object) -> str:
    """A value as a param: lists joined by a dash, cut where it is long."""
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return text[:LONGEST_PARAM] or "-"
