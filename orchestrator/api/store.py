"""The results of stages that are kept for reuse."""

from __future__ import annotations

from os import fspath
from typing import TYPE_CHECKING

from adloc.api.asked import user_errors
from adloc.api.frames import frame_of
from adloc.errors import Complaint, UserError
from adloc.kept.results import collect_results, count_results, shared_of, verify_results
from adloc.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from adloc.api.asked import Place


class Store:
    """The store of a workspace; see `adloc store`."""

    @user_errors
    def __init__(self, *, workspace: Place | None = None) -> None:
        """Of $ADLOC_WORKSPACE, else ./mlruns, unless another is named."""
        self._workspace = Workspace.find(None if workspace is None else fspath(workspace))

    def __repr__(self) -> str:
        """Where it is."""
        return f"Store(workspace={self._workspace.location!r})"

    @user_errors
    def ls(self) -> pd.DataFrame:
        """Files and bytes by kind of stage, a row each; of a workspace behind a URL also those there."""
        return frame_of([{"kind": kind, **total} for kind, total in count_results(self._workspace).items()])

    @user_errors
    def gc(self, *, max_gb: float | None = None, shared: bool = False) -> tuple[int, int]:
        """Delete what was not used for longest, until the store fits its cap; how many files, of how many bytes.

        Args:
            max_gb: keep at most this; default: $ADLOC_STORE_GB, else 100.
            shared: what is behind the workspace's URL, not this machine's copies.

        Raises:
            UserError: `shared` of a workspace that is a folder, or without `max_gb`.
        """
        if not shared:
            return collect_results(self._workspace, max_gb)
        if max_gb is None:
            raise UserError(
                Complaint("max_gb is left out", "what others keep behind a URL has no default", "say how much may stay")
            )
        return shared_of(self._workspace).collect(max_gb * 1e9)

    @user_errors
    def verify(self, *, shared: bool = False) -> list[str]:
        """Read every file against its checksums; the damaged ones, which are set aside and computed again when needed.

        Args:
            shared: what is behind the workspace's URL, where a damaged result is deleted.

        Raises:
            UserError: `shared` of a workspace that is a folder.
        """
        return verify_results(self._workspace, shared=shared)
