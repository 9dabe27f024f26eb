"""Tables for people on the terminal."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import click
from rich.console import Console

from adloc.answer.comparisons import HEADLINE
from adloc.answer.foremost import foremost, setting_of
from adloc.answer.material import gather
from adloc.answer.promises import promise_lines
from adloc.answer.results import MACRO, WARNINGS, brief, cell, recorded, varying
from adloc.cli.fitting import plain_table, print_fitting
from adloc.cli.say import say, say_text
from adloc.cost.words import accounted, duration, expectation, size
from adloc.errors import in_one_line
from adloc.planning.part_counts import part_counts
from adloc.planning.plan import each_stage
from adloc.printed import printable
from adloc.record.reasons import told
from adloc.study import incomplete
from adloc.tracking.index import views_at
from adloc.tuning.state import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.answer import Answer
    from adloc.answer.claim import Claim
    from adloc.answer.results import Cell, Row
    from adloc.cost.account import Account
    from adloc.cost.estimate import Estimate
    from adloc.expected import Expected
    from adloc.run.runs import Outcome
    from adloc.study import DataCheck, Study
    from adloc.study_file.variants import Variant
    from adloc.tracking.place import Place
    from adloc.tuning.state import SearchState
    from adloc.tuning.trial_records import TrialRecord

LEAST_SHOWN_BYTES = 5e5
MOST_LINES = 100  # of results on a terminal
SHORTCUT = ("images_of", "threshold_of", "flagged", "n_images")


def print_results(rows: Sequence[Row]) -> None:
    """The results, macro rows in bold below; on a terminal no more than can be read.

    The average over a single category would say it twice and is left to the files.
    """
    if not rows:
        say("no results yet: run the study first")
        return
    known = _distinct(rows)
    shown = _readable(known, known)
    heads, cells = brief(shown)
    _print_table(heads, cells, heads.index("threshold"), sum(row["category"] != MACRO for row in shown))
    if len(shown) < len(known):
        say(
            f"{len(known) - len(shown):,} of {len(known):,} rows are not shown: these are the settings with the best"
            " validation image AUROC; all: `adloc study results FILE --format csv`, or into a pipe (`| less -S`)"
        )
    if any("-" in line for line in cells):
        say("-: not defined there, or not computed; a threshold has no average")
    if WARNINGS in heads:
        told = dict.fromkeys(line[heads.index(WARNINGS)] for line in cells)
        by = "; ".join(text for text in told if text)
        say(f"warnings: the validation part is ranked clearly worse than by the plain distance, by {by}")


def print_answer(answer: Answer) -> None:
    """The results, and under them what they say together."""
    print_results(answer.rows)
    macro = _readable([row for row in answer.regime_drops if row["category"] == MACRO], answer.rows)
    if macro:
        _print_drops("What a shift costs: macro drop from clean, and errors at the threshold", macro, "regime")
    macro = _readable([row for row in answer.scope_drops if row["category"] == MACRO], answer.rows)
    if macro:
        _print_drops("What one model for all costs: macro drop from separate models", macro, "threshold_scope")
    if answer.identical_shortcut:
        _print_shortcut(answer.identical_shortcut)
    if answer.repeats:
        _print_repeats(answer.repeats)
    if answer.tuning_gains:
        # of what was found for some categories alone there is no average
        macro = [row for row in answer.tuning_gains if row["category"] == MACRO]
        _print_gains(macro or answer.tuning_gains)


def _distinct(rows: Sequence[Row]) -> Sequence[Row]:
    """Without macro rows where there is one category only."""
    plain = [row for row in rows if row["category"] != MACRO]
    return plain if len({row["category"] for row in plain}) == 1 else rows


def _print_table(heads: Sequence[str], lines: Sequence[Sequence[str]], n_keys: int, n_plain: int | None = None) -> None:
    """A table whose first `n_keys` columns tell its rows apart; those from `n_plain` on are bold."""
    console = _console()
    if console.is_terminal:
        print_fitting(console, heads, lines, n_keys, n_plain)
    else:
        click.echo(plain_table(heads, lines), nl=False)


def _readable(rows: Sequence[Row], results: Sequence[Row]) -> Sequence[Row]:
    """On a terminal those of the foremost settings, where the results have too many rows."""
    among = foremost(_distinct(results), MOST_LINES) if _console().is_terminal else None
    return rows if among is None else [row for row in rows if setting_of(row) in among]


def print_claims(claims: Sequence[Claim]) -> None:
    """What the study found, in sentences; the last thing that a reader of the terminal sees of the answer."""
    if claims:
        say()
    for claim in claims:
        _console().print(printable(claim.text), soft_wrap=False, style="bold" if claim.kind == "use" else None)
        if claim.kind == "use":
            say()


def print_promises(study: Study) -> None:
    """What each lead's threshold promises about false alarms, beside what the test part shows."""
    lines = promise_lines(gather(study.plan, study.records, recorded(study.plan, study.records)))
    if lines:
        say("", "False alarms that the thresholds promise, of those settings that the validation part chose")
    for line in lines:
        say(f"  {line}")


def _print_drops(title: str, rows: Sequence[Row], axis: str) -> None:
    say("", f"{title}")
    apart = [name for name in varying(rows) if name not in ("category", "method", axis)]
    heads = ["method", *(n.removeprefix("params.") for n in apart), axis, "relative", *HEADLINE, "fpr", "fnr"]
    names = ("relative_drop", *(f"drop_{n}" for n in HEADLINE), "image_fpr", "image_fnr")
    lines = [
        [*(cell(n, row[n]) for n in ("method", *apart, axis)), *(_signed(row[n], n) for n in names)] for row in rows
    ]
    _print_table(heads, lines, len(apart) + 2)


def _print_shortcut(rows: Sequence[Row]) -> None:
    """One matrix a model: rows are whose normal images, columns are whose threshold."""
    models: dict[tuple[Cell, ...], list[Row]] = {}
    for row in rows:
        models.setdefault(tuple(v for k, v in row.items() if k not in SHORTCUT), []).append(row)
    names = varying([{**row, "category": ""} for row in rows])
    for model in models.values():
        what = " ".join(str(model[0][n]) for n in names if n != "category")
        say("", f"Identical shortcut, {what}: share of a category's normal images that another's threshold flags")
        columns = list(dict.fromkeys(str(row["threshold_of"]) for row in model))
        lines: list[list[str]] = []
        for name in dict.fromkeys(str(row["images_of"]) for row in model):
            shares = {str(row["threshold_of"]): row["flagged"] for row in model if row["images_of"] == name}
            lines.append([name, *(f"{shares[c]:.3f}" for c in columns)])
        _print_table(["images of", *(f"threshold of {c}" for c in columns)], lines, 1)


def _print_repeats(rows: Sequence[Row]) -> None:
    macro = [row for row in rows if row["category"] == MACRO and row["metric"] in HEADLINE]
    say("", "Over repeats: macro mean, standard deviation and 95 % interval of the mean")
    apart = [n for n in varying([{**row, "repeat": 0} for row in macro]) if n != "category"]
    heads = [*(n.removeprefix("params.") for n in apart), "metric", "n", "mean", "std", "95 % interval"]
    lines: list[list[str]] = []
    for row in macro:
        interval = f"{row['ci95_low']:.4f} to {row['ci95_high']:.4f}"
        figures = [str(row["metric"]), str(row["n_repeats"]), f"{row['mean']:.4f}", f"{row['std']:.4f}", interval]
        lines.append([*(cell(n, row[n]) for n in apart), *figures])
    _print_table(heads, lines, len(apart) + 1)


def _print_gains(rows: Sequence[Row]) -> None:
    """Validation and test side by side: what was gained where it was looked for, and what is left of it."""
    macro = ", macro" if rows[0]["category"] == MACRO else ""
    say("", f"What tuning gained{macro}: sought on the validation part, told on the test part")
    names = [n.removeprefix("gain_") for n in rows[0] if n.startswith("gain_")]
    names = [n for n in names if any(row[f"gain_{n}"] is not None for row in rows)]
    apart = [n for n in varying(rows) if (n != "category" or not macro) and not n.startswith("params.")]
    lines: list[list[str]] = []
    for row in rows:
        cells = [f"{row[f'tuned_{n}']:.4f} ({row[f'gain_{n}']:+.4f})" if row[f"gain_{n}"] is not None else "-"
                 for n in names]  # fmt: skip
        lines.append([*(cell(n, row[n]) for n in apart), *cells])
    _print_table([*apart, *names], lines, len(apart))


def print_searches(study: Study) -> None:
    """How far the searches are, and the best setting of each so far."""
    for row, state in zip(progress(study.searches), study.searches, strict=True):
        to_do = state.search.config.trials - len(state.trials)
        what = "done" if row["finished"] or not to_do else f"{to_do} to do"
        failed = f", {state.n_failed} failed" if state.n_failed else ""
        say(f"tuning {row['search']}: {row['done']} of {row['trials']} trials, {what}{failed}")
        if state.changed:
            say("  what it searches has changed since its trials were made: they do not count any more")
            for line in state.changed:
                say(f"    {line}")
        for record in state.search.best(state.trials):
            say(f"  trial {record.number}: {_tried(record, state)}")
        if row["finished"] and not row["best"]:
            say(f"  {state.outcome}")
        if again := [trial for trial in state.trials if trial.transient]:
            numbers = ", ".join(str(trial.number) for trial in again)
            say(f"  tried again at the next run: trial {numbers} ({in_one_line(str(again[0].error))})")


def _tried(record: TrialRecord, state: SearchState) -> str:
    """What a trial reached, beside the untuned setting where there is one objective, and its values."""
    objectives = state.search.config.objectives
    figures = "  ".join(f"{n} {record.figures[n]:.4f}" for n in objectives)
    untuned = state.trials[0].figures.get(objectives[0]) if len(objectives) == 1 else None
    against = "" if untuned is None else f" (untuned {untuned:.4f})"
    values = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in record.params.items())
    return f"{figures}{against}  {values}"


def _signed(value: Cell, name: str) -> str:
    if not isinstance(value, float):
        return "-"
    return f"{100 * value:+.1f} %" if name == "relative_drop" else f"{value:+.4f}" if "drop" in name else f"{value:.3f}"


def print_where(study: Study, outcome: Outcome, place: Place, account: Account | None) -> None:
    """What was done, what it took where something was computed, and where to look next."""
    say()
    say(outcome.words)
    if account is not None:
        say(f"It {accounted(account)}.")
    if not any(len(parts.validation) for parts in study.plan.parts.values()):
        say("The validation part is empty: no threshold was calibrated, metrics at a threshold are empty.")
    say(f"Table:    {study.workspace.study_path(study.spec.study) / 'results.csv'}")
    say(f"Report:   {study.workspace.study_path(study.spec.study) / 'report.html'}")
    say(f"Heatmaps: {study.workspace.study_path(study.spec.study) / 'records'}")
    if not place.server:
        say(f"Compare:  adloc ui --workspace {study.workspace.location}")
    for name, link in views_at(place, study.spec.study).items():
        say(f"{name.capitalize() + ':':<10}{link}")


def print_plan(expected: Expected) -> None:
    """Runs by method and regime, the stages that they share, and what is still to be done of them will cost."""
    plan = expected.study.plan
    say(f"{plan.spec.study}: {len(plan.runs)} runs, {len(expected.todo)} to do")
    lack = told(incomplete(expected.study))
    for sentence in (*expected.not_known, *([lack] if lack else [])):
        say(sentence)
    print_searches(expected.study)
    groups = Counter((r.variant.method.name, r.scope, r.regime) for r in plan.runs)
    variants: dict[tuple[str, str], set[Variant]] = {}
    for run in plan.runs:
        variants.setdefault((run.variant.method.name, run.scope), set()).add(run.variant)
    n_distinct = {who: len({str(each.hyperparameters()) for each in found}) for who, found in variants.items()}
    lines = [
        [method, scope, regime, str(n_distinct[method, scope]), str(n)] for (method, scope, regime), n in groups.items()
    ]
    _print_table(["method", "scope", "regime", "variants", "runs"], lines, 3)
    for each in plan.absent:
        say(f"not run: {each}")
    say()
    steps = Counter(stage.kind for run in plan.runs for stage in {s.key: s for s in each_stage([run])}.values())
    lines = [[kind, str(n_stages), str(steps[kind])] for kind, n_stages in plan.count().items()]
    _print_table(["stage", "distinct", "without sharing"], lines, 1)
    _print_costs(expected.cost)
    from adloc.answer.power import study_power

    if (power := study_power(plan)) is not None:
        say("", f"{power.sentence()}")


def _print_costs(expected: Estimate) -> None:
    """What is to be done and what is there, by kind, with time, disk and memory."""
    say()
    if not any(line.n_todo for line in expected.lines):
        say("nothing is to be computed")
        return
    rough = any(line.basis != "measured" for line in expected.lines)
    heads = ("cost", "to do", "there", "time", "disk", "memory", *(("by figures",) if rough else ()))
    lines: list[list[str]] = []
    for line in expected.lines:
        time = "?" if line.seconds is None else duration(line.seconds)
        disk = size(line.disk_bytes) if line.disk_bytes >= LEAST_SHOWN_BYTES else ""
        memory = "" if line.memory_bytes is None or not line.n_todo else size(line.memory_bytes)
        cells = (line.kind, str(line.n_todo), str(line.n_there or ""), time, disk, memory)
        lines.append([*cells, *((line.basis,) if rough else ())])
    _print_table(heads, lines, 1)
    say("", f"{expectation(expected)}")


def print_check(check: DataCheck, *, as_json: bool) -> None:
    """What is wrong, and counts per category and part."""
    rows = part_counts(check.plan) if check.plan else []
    if as_json:
        problems = {name: [str(c) for c in getattr(check, name)] for name in ("errors", "warnings")}
        click.echo(json.dumps({"ok": not check.errors, "parts": rows, **problems}, indent=1))
        return
    for complaint in check.warnings:
        say_text(f"warning: {complaint}")
    for complaint in check.errors:
        say_text(f"error: {complaint}")
    if check.plan is None:
        return
    domain = ("domain",) if check.plan.targets else ()
    columns = ("category", *domain, "part", "images", "normal", "anomalous")
    told = ("without mask", "groups") if domain else ("without mask", "groups", "domains")
    more = [name for name in told if any(row[name] for row in rows)]
    lines = [[_cell(row[name]) for name in (*columns, "defects", *more)] for row in rows]
    _print_table([*columns, "defect types", *more], lines, len(domain) + 2)
    for each in check.plan.absent:
        say(f"not run: {each}")
    say(f"{len(check.warnings)} warnings, every image read; no image is in two parts")


def _cell(value: object) -> str:
    return ", ".join(f"{name} {n}" for name, n in value.items()) if isinstance(value, dict) else str(value)


def _console() -> Console:
    """To stdout; wide enough for every column when stdout is no terminal."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=250)
