"""The seal of a study: what was planned before the first test figure was computed, and whether the plan still is that.

A plan that is changed after its test figures were seen has chosen on them, whatever its protocol says. The seal makes
that visible: a hash of the plan that a reviewer can compute again, kept from before the first test figure on.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from adloc.datasets.checked import DamagedError
from adloc.errors import Complaint, UserError
from adloc.record.files import read_checked, write_checked
from adloc.study_file.domains import DomainShift
from adloc.study_file.variants import TUNED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from adloc.planning.parts import Part
    from adloc.planning.plan import Plan, Run

Content = dict[str, JsonValue]
_NO_FIGURE = {"description", "heatmaps", "explain", "models", "max_runs"}  # keys of a study file


class Seal(BaseModel):
    """A plan as it was sealed.

    Attributes:
        format: of this file.
        plan: SHA-256 of `content` as JSON with sorted keys and no spaces.
        sealed: ISO 8601, UTC.
        n_figures: runs of the study that had test figures already; 0 of a seal that came first.
        content: see `plan_content`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    plan: str
    sealed: str
    n_figures: int = 0
    content: dict[str, JsonValue] = Field(repr=False)

    @property
    def is_whole(self) -> bool:
        """Whether the hash is the content's: a seal that was edited by hand does not fit."""
        return self.plan == plan_hash(self.content)


def plan_content(plan: Plan) -> Content:
    """What bears on the figures of a study: "study" (the file), "runs" (ids) and "parts" (digests).

    Left out are what changes no figure (description, heatmaps, explanations, models, which features are kept, how many
    runs there may be, where the images lie) and defaults, so that a later version's new key breaks no seal; a run's id
    holds every hyperparameter. Runs of tuned settings are left out too: they are found on the validation part, after
    the search that the file describes was sealed.
    """
    spec = plan.spec.model_dump(mode="json", exclude_defaults=True, exclude=_NO_FIGURE)
    features = {k: v for k, v in spec.pop("features", {}).items() if k != "keep"}
    spec |= {"features": features} if features else {}
    spec["dataset"] = {k: v for k, v in spec["dataset"].items() if k != "root"}
    if isinstance(plan.spec.shift, DomainShift):
        spec["shift"] |= {"kind": plan.spec.shift.kind, "targets": list(plan.spec.shift.targets)}
    runs: list[JsonValue] = [
        *sorted(run.run_id for run in plan.runs if not run.variant.setting.startswith(TUNED)),
    ]
    parts: dict[str, JsonValue] = {}
    for run in plan.runs:
        for name, part in _parts(run):
            parts[f"{part.category}/{name}/{part.domain}/{run.repeat}"] = part.digest
    return {"study": spec, "runs": runs, "parts": parts}


def _parts(run: Run) -> Iterator[tuple[str, Part]]:
    yield "train", run.train_part
    if run.validation is not None:
        yield "validation", run.validation.truth.part
    yield "test", run.test.truth.part


def plan_hash(content: Mapping[str, JsonValue]) -> str:
    """64 hexadecimal digits.

    Example:
        >>> plan_hash({"runs": []})[:16]
        '6f23bb10da82b8a1'
    """
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def make_seal(plan: Plan, now: datetime, n_figures: int = 0) -> Seal:
    """The seal of a plan."""
    content = plan_content(plan)
    return Seal(plan=plan_hash(content), sealed=now.isoformat(timespec="seconds"), n_figures=n_figures, content=content)


def read_seal(path: Path) -> Seal | None:
    """The seal in a file; None where there is none.

    Raises:
        UserError: the file is no seal, or its content is not what was hashed.
    """
    try:
        seal = Seal.model_validate_json(read_checked(path))
    except FileNotFoundError:
        return None
    except (ValidationError, DamagedError):
        seal = None
    if seal is None or not seal.is_whole:
        raise UserError(
            Complaint(
                f"{path} is no seal, or was changed since it was written",
                "a seal holds a plan and the SHA-256 of exactly that plan",
                "put back the file that was written first; without one, move it away and the next run seals anew",
            )
        )
    return seal


def write_seal(path: Path, seal: Seal) -> None:
    """Write it, whole or not at all."""
    write_checked(path, seal.model_dump(mode="json"))


def changes(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> list[str]:
    """What differs, in words: the study file's dotted keys first, then runs and parts.

    Example:
        >>> changes({"study": {"seed": 1}}, {"study": {"seed": 2}})
        ['seed: 1 -> 2']
    """
    old, new = _flat(before.get("study") or {}), _flat(after.get("study") or {})
    found = [
        f"{key}: {_word(old.get(key))} -> {_word(new.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
    runs, ran = (
        {str(r) for r in listed} if isinstance(listed := c.get("runs"), list) else set() for c in (before, after)
    )
    if runs != ran:
        found.append(f"runs: {len(ran - runs)} more, {len(runs - ran)} fewer")
    parts, read = _flat(before.get("parts") or {}), _flat(after.get("parts") or {})
    moved = [key for key in dict.fromkeys([*parts, *read]) if parts.get(key) != read.get(key)]
    return [*found, *([f"images, labels or masks of {', '.join(moved)}"] if moved else [])]


def _flat(value: JsonValue, prefix: str = "") -> dict[str, JsonValue]:
    """Leaves by dotted key; a list of plain values is a leaf."""
    if isinstance(value, dict) and value:
        inside = [(f"{prefix}.{key}" if prefix else key, each) for key, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        inside = [(f"{prefix}[{index}]", each) for index, each in enumerate(value)]
    else:
        return {prefix: value}
    return {key: leaf for name, each in inside for key, leaf in _flat(each, name).items()}


def _word(value: JsonValue) -> str:
    return "default" if value is None else json.dumps(value)
