"""One model for all categories: what it loses, and the identical shortcut."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.results import MACRO
from adloc.report.charts import figures as charts
from adloc.report.section import Section, who
from adloc.report.tables import Table, figure, words

if TYPE_CHECKING:
    from adloc.answer.material import Material


def unified(material: Material) -> Section | None:
    """What one model loses against many; none without a unified model."""
    answer = material.answer
    if not answer.scope_drops and not answer.identical_shortcut:
        return None
    labels = {who(r)[1:]: f.setting.label for f in material.findings
              for r in answer.rows if r["run_id"] == f.record.run_id}  # fmt: skip
    metrics = ("image_auroc", "image_f1", "pixel_auroc", "pixel_aupro")
    rows = [
        (words(r["category"]),
         words(labels.get(who(r)[1:]) or f"{r['method']}, unified, {r['threshold_scope']} threshold"),
         words(REGIME_TITLES[str(r["regime"])]), *(figure(r[f"drop_{n}"], 3, signed=True) for n in metrics),
         figure(r["image_fpr"]), figure(r["image_fnr"]))
        for r in sorted(answer.scope_drops, key=lambda r: r["category"] != MACRO) if r["repeat"] == 0
    ]  # fmt: skip
    heads = ("category", "setting", "regime", *(f"drop of {title_of(n)}" for n in metrics), title_of("image_fpr"),
             title_of("image_fnr"))  # fmt: skip
    table = Table("unified", "What one model for all categories loses against a model for each", heads, tuple(rows),
                  ("category", "regime"))  # fmt: skip
    text = (
        "A drop is how much worse the unified model is than the category's own; negative where it is better. "
        "The matrices "
        "show the identical shortcut: the share of a category's normal images that another category's threshold flags.",
    )
    made = tuple(islice(charts.shortcut(material), 24))
    return Section("unified", "One model for all categories", text, (table,) if rows else (), made)
