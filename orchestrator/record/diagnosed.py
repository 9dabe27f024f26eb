"""What a run's record says of its scoring against a plain one, and when that is a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, JsonValue

from adloc.metrics.registry import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adloc.methods.detector import Result
    from adloc.planning.stages import DiagnosisStage


class PlainComparison(BaseModel):
    """One metric of the validation part at the run's own scoring, and with one parameter of it plain.

    Attributes:
        parameter: "reweight".
        value: of the run: "every_patch".
        plain: "none".
        metric: result column, without the prefix of the validation part.
        figure: of the run.
        plain_figure: with the parameter plain, all else as it is.
        low: of the 95 % interval of plain minus own, over samples of validation images.
        high: the other end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameter: str
    value: JsonValue
    plain: JsonValue
    metric: str
    figure: float
    plain_figure: float
    low: float
    high: float

    def is_worse(self, margin: float) -> bool:
        """Whether the run surely ranks worse than the plain scores do, by more than differences that do not matter."""
        return self.low > margin

    def is_better(self, margin: float) -> bool:
        """Whether it surely ranks better, by more than that."""
        return self.high < -margin

    @property
    def setting(self) -> str:
        """ "reweight every_patch"."""
        return f"{self.parameter} {_word(self.value)}"


def comparisons(stage: DiagnosisStage, found: Result) -> tuple[PlainComparison, ...]:
    """Those that the stage could make."""
    values = stage.evaluation.scores.params.model_dump(mode="json")
    return tuple(
        PlainComparison.model_validate(
            {
                "parameter": name,
                "value": values[name],
                "plain": plain,
                "metric": metric,
                "figure": found.facts[f"{name}.{metric}.own"],
                "plain_figure": found.facts[f"{name}.{metric}.plain"],
                "low": found.facts[f"{name}.{metric}.low"],
                "high": found.facts[f"{name}.{metric}.high"],
            }
        )
        for name, plain in stage.plain.items()
        for metric in stage.metrics
        if f"{name}.{metric}.own" in found.facts
    )


def by_parameter(found: Iterable[PlainComparison]) -> list[list[PlainComparison]]:
    """The comparisons of each parameter together."""
    grouped: dict[str, list[PlainComparison]] = {}
    for each in found:
        grouped.setdefault(each.parameter, []).append(each)
    return list(grouped.values())


def warnings(found: Iterable[PlainComparison], margin: float) -> tuple[str, ...]:
    """A sentence for each parameter that makes the validation ranking clearly worse; none where it does not."""
    told = (warning(of_one, margin) for of_one in by_parameter(found))
    return tuple(text for text in told if text)


def warning(of_one: list[PlainComparison], margin: float, where: str = "") -> str:
    """What one parameter does to the ranking, and the remedy; "" where it is not clearly worse.

    Args:
        of_one: the comparisons of one parameter.
        margin: differences within it do not matter.
        where: which category's figures they are; "" leaves it unsaid.
    """
    worse = [each for each in of_one if each.is_worse(margin)]
    if not worse:
        return ""
    first, better = worse[0], [each for each in of_one if each.is_better(margin)]
    plain = f"{first.parameter}: {_word(first.plain)}"
    text = f"{first.setting} ranks validation {_ranked(worse)} clearly worse than the plain distance ({plain}): "
    text += _figures(worse) + (f", on {where}" if where else "")
    if better:
        return f"{text}; it ranks {_ranked(better)} better: {_figures(better)}. Use {plain} unless that matters more."
    return f"{text}. Use {plain}."


def marks(found: Iterable[PlainComparison], margin: float) -> str:
    """For a cell of a table: "reweight every_patch: pixel_auroc, pixel_aupro"; "" where nothing is worse."""
    told = []
    for of_one in by_parameter(found):
        worse = [each.metric for each in of_one if each.is_worse(margin)]
        told += [f"{of_one[0].setting}: {', '.join(worse)}"] if worse else []
    return "; ".join(told)


def _ranked(found: list[PlainComparison]) -> str:
    levels = [level for level in ("image", "pixel") if any(each.metric.startswith(level) for each in found)]
    return " and ".join(f"{level}s" for level in levels)


def _figures(found: list[PlainComparison]) -> str:
    return ", ".join(f"{METRICS[c.metric].title} {c.figure:.3f} against {c.plain_figure:.3f}" for c in found)


def _word(value: JsonValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
