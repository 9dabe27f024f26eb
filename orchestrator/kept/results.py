"""The results of stages that are kept for reuse: counted, collected and verified, here and behind a workspace's URL."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from adloc.computing.store import Store, cap_bytes
from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    from adloc.remote.shared import Shared
    from adloc.workspace import Workspace


def count_results(workspace: Workspace) -> dict[str, dict[str, int]]:
    """Files and bytes by kind of stage; of a workspace behind a URL also shared_files and shared_bytes, there."""
    nothing = {"files": 0, "bytes": 0} | ({} if workspace.shared is None else {"shared_files": 0, "shared_bytes": 0})
    totals: defaultdict[str, dict[str, int]] = defaultdict(nothing.copy)
    for entry in Store(workspace.store_path).entries():
        _count(totals[entry.kind], entry.n_bytes, "")
    for kept in () if workspace.shared is None else workspace.shared.results():
        _count(totals[kept.kind], kept.n_bytes, "shared_")
    return dict(sorted(totals.items()))


def collect_results(workspace: Workspace, max_gb: float | None) -> tuple[int, int]:
    """Delete what was not used for longest until the store fits; how many files, of how many bytes."""
    cap = cap_bytes() if max_gb is None else max_gb * 1e9
    gone = Store(workspace.store_path).collect(cap, in_use_since_s=workspace.in_use_since())
    return len(gone), sum(e.n_bytes for e in gone)


def verify_results(workspace: Workspace, *, shared: bool) -> list[str]:
    """Read every file against its checksums; the damaged ones, which are set aside here, and behind a URL deleted.

    Raises:
        UserError: `shared` is asked of a workspace that is a folder.
    """
    if shared:
        return [str(path) for path in shared_of(workspace).verify()]
    return [str(path) for path in Store(workspace.store_path).verify()]


def shared_of(workspace: Workspace) -> Shared:
    """What is behind the workspace's URL.

    Raises:
        UserError: it is a folder.
    """
    if workspace.shared is None:
        raise UserError(
            Complaint(
                f"--shared: the workspace {workspace.location} is a folder",
                "it is for a workspace behind a URL, beside this machine's copy of it",
                "leave it out, or name one: --workspace s3://bucket/prefix",
            )
        )
    return workspace.shared


def _count(total: dict[str, int], n_bytes: int, where: str) -> None:
    total[f"{where}files"] += 1
    total[f"{where}bytes"] += n_bytes
