"""What a verb reads and writes beside its workspace: files and folders of this machine, never behind a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.datasets.fetched import as_url
from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    from pathlib import Path


def require_on_disk(path: Path) -> Path:
    """The path, unless it was made of a URL: then it would name a folder "s3:" here, and be taken for the bucket.

    Raises:
        UserError: it was, and there is no such thing here.
    """
    url = as_url(path)
    if url is None or path.exists():
        return path
    raise UserError(
        Complaint(
            f"{url}: a URL",
            "but for a workspace and a dataset, what is read and written is on this machine's disks",
            "name a file or folder here, and copy it from there, or there when it is written",
        )
    )
