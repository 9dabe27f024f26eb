"""How often test images were looked at: one line for every plan whose test figures were computed in a workspace.

A test part that many plans were tried on no longer tells what a new image would: the best of them is partly luck.
`sealed/ledger.jsonl` of the workspace is appended to before a plan's first test figure, and never rewritten.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypedDict

from adloc.datasets.checked import from_checked, to_checked
from adloc.errors import Complaint, UserError
from adloc.sealing.seal import changes, make_seal, plan_content, plan_hash, read_seal, write_seal

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from adloc.planning.plan import Plan
    from adloc.sealing.seal import Seal
    from adloc.workspace import Workspace

DIGITS = 16  # of an image's SHA-256: 64 bits tell a million images apart, a line of 1,725 takes 33 kB


@dataclass(frozen=True, slots=True)
class Look:
    """A plan whose test figures were computed.

    Attributes:
        plan: its hash, see `adloc.sealing.seal`.
        study: its name.
        time: before the first figure, ISO 8601, UTC; empty of a line that is damaged, of which nothing is believed.
        images: of its test parts: the first digits of their files' SHA-256.
    """

    plan: str
    study: str
    time: str
    images: tuple[str, ...]

    @property
    def is_damaged(self) -> bool:
        """Whether it may be of any plan and any images."""
        return not self.time


@dataclass(frozen=True, slots=True)
class Standing:
    """What can be said of a plan before its figures are believed.

    Attributes:
        seal: of the study; None when it has none.
        changed: what the plan has other than the sealed one, in words; empty when it is the sealed one.
        before: other plans that test figures of some of the same images were computed for before this one's.
        since: the same after this one's; 0 while it has none.
        damaged: lines of the ledger among both that may be of any plan, counted as if they were of these images.
    """

    seal: Seal | None
    changed: tuple[str, ...]
    before: int
    since: int
    damaged: int = 0


class StandingJson(TypedDict):
    """The same for programs."""

    sealed: str | None
    plan: str | None
    matches: bool
    changed: list[str]
    plans_before: int
    plans_since: int


def open_test(plan: Plan, workspace: Workspace, now: datetime, n_figures: int) -> None:
    """Seal the plan if its study has no seal, and enter it in the ledger if it is not there.

    To be called before the first test figure is computed.

    Args:
        plan: that will be run.
        workspace: where it will be.
        now: the time.
        n_figures: runs of the study that have test figures already, of a version that kept no seals.
    """
    seal = make_seal(plan, now, n_figures)
    path = seal_path(workspace, plan.spec.study)
    ledger = ledger_path(workspace)
    with workspace.turn("sealed"), workspace.appending(ledger):  # processes of other studies append to the same file
        if read_seal(path) is None:
            write_seal(path, seal)
        if all(look.plan != seal.plan for look in read_looks(ledger)):
            append(ledger, Look(seal.plan, plan.spec.study, seal.sealed, images_tested(plan)))


def seal_study(plan: Plan, workspace: Workspace, now: datetime, n_figures: int) -> Seal:
    """Seal a plan without running it; the seal that is there where it is of the same plan.

    Raises:
        UserError: the study is sealed with another plan, or its seal was changed by hand.
        UnreachableError: it cannot be kept behind the workspace's URL; then the study is not sealed.
    """
    path, seal = seal_path(workspace, plan.spec.study), make_seal(plan, now, n_figures)
    with workspace.turn("sealed"):
        if read_seal(path) is None:
            write_seal(path, seal)
            try:
                workspace.push(plan.spec.study)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        before = read_seal(path) or seal  # the one of another machine where that was faster
    if before.plan == seal.plan:
        return before
    raise UserError(
        Complaint(
            f"{path}: the study was sealed on {before.sealed} with another plan: "
            f"{'; '.join(changes(before.content, seal.content))}",
            "a seal is not replaced: it says what was planned first",
            "give the changed study another name, or undo the change",
        )
    )


def standing(plan: Plan, workspace: Workspace) -> Standing:
    """Whether the plan is the sealed one, and how many others saw its test images.

    Raises:
        UserError: the seal was changed by hand.
    """
    content = plan_content(plan)
    own = plan_hash(content)
    seal = read_seal(seal_path(workspace, plan.spec.study))
    images = set(images_tested(plan))
    looks = [
        look
        for look in read_looks(ledger_path(workspace))
        if look.plan == own or look.is_damaged or not images.isdisjoint(look.images)
    ]
    plans = list(dict.fromkeys(look.plan for look in looks))
    before = plans.index(own) if own in plans else len(plans)
    changed = changes(seal.content, content) if seal is not None and seal.plan != own else ()
    damaged = sum(look.is_damaged for look in looks)
    return Standing(seal, tuple(changed), before, max(0, len(plans) - before - 1), damaged)


def standing_json(found: Standing) -> StandingJson:
    """The standing as plain values."""
    seal = found.seal
    return {
        "sealed": seal.sealed if seal else None,
        "plan": seal.plan if seal else None,
        "matches": seal is not None and not found.changed,
        "changed": list(found.changed),
        "plans_before": found.before,
        "plans_since": found.since,
    }


def sentences(found: Standing) -> list[str]:
    """The standing in words: the seal, then the looks."""
    seal = found.seal
    if seal is None:
        said = ["The plan is not sealed: its test figures, if any, are of a version that kept no seals."]
    elif found.changed:
        said = [
            f"The plan is not the one that was sealed on {seal.sealed} ({seal.plan[:12]}). Changed since: "
            f"{'; '.join(found.changed)}."
        ]
    else:
        said = [f"The plan is the one that was sealed on {seal.sealed} ({seal.plan[:12]})."]
    if seal is not None and seal.n_figures:
        said.append(f"When it was sealed, {_count(seal.n_figures, 'run')} of the study had test figures already.")
    looks = f"Test figures of the same images were computed for {_count(found.before, 'other plan')} before this one"
    since = f", and for {_count(found.since, 'other')} since" if found.since else ""
    said.append(
        f"{looks}{since}, as far as this workspace knows."
        + (" What holds for the best of many plans is partly luck." if found.before or found.since else "")
    )
    if found.damaged:
        damaged = _count(found.damaged, "line")
        said.append(f"Of these, {damaged} of the workspace's ledger cannot be read: what plan it was of is not known.")
    return said


def _count(n: int, what: str) -> str:
    return f"{n or 'no'} {what}{'s' * (n != 1)}"


def seal_path(workspace: Workspace, study: str) -> Path:
    """A study's seal."""
    return workspace.study_path(study) / "seal.json"


def ledger_path(workspace: Workspace) -> Path:
    """The workspace's ledger."""
    return workspace.root / "sealed" / "ledger.jsonl"


def images_tested(plan: Plan) -> tuple[str, ...]:
    """Every test image of every repeat once, by the first digits of its file's SHA-256; its shift does not matter."""
    parts = {run.test.truth.part for run in plan.runs}  # which thousands of runs share
    return tuple(sorted({f.sha256[:DIGITS] for part in parts for f in part.fingerprints}))


def read_looks(path: Path) -> list[Look]:
    """Every look, oldest first; a line that a crash tore is no look: its plan had computed nothing yet.

    A line that is whole and is not what was written is a look of which nothing is known.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found: list[Look] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(from_checked(line.encode()))
            found.append(Look(entry["plan"], entry["study"], entry["time"], tuple(entry["images"])))
        except (ValueError, KeyError, TypeError):
            if line.endswith("}"):
                found.append(Look(f"line {number}", "", "", ()))
    return found


def append(path: Path, look: Look) -> None:
    """Add a line, on the disk before this returns; after a torn line it begins a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = _is_torn(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + to_checked(asdict(look)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _is_torn(path: Path) -> bool:
    last = path.read_bytes()[-1:] if path.exists() else b""
    return last not in (b"", b"\n")
