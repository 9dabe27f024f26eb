"""What is wrong with a dataset, said so that it can be mended."""

from __future__ import annotations

from dataclasses import dataclass

from adloc.datasets.copies import by_url


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; of a file behind a URL its URL is told, for nobody mends a copy.

    Attributes:
        found: what was found and where, beginning with the path: "bottle/test/crack/003.png: does not decode
            (truncated)".
        rule: what must hold: "every image must be a complete png, jpg, bmp or tif file".
        remedy: what to do: "export the file again". Never to delete or move what is a user's.
        key: the key of the dataset's configuration that is to blame, so that its line can be shown: ("root",).
    """

    found: str
    rule: str
    remedy: str
    key: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        """Name files as a person does."""
        for name in ("found", "rule", "remedy"):
            object.__setattr__(self, name, by_url(getattr(self, name)))


class DatasetError(Exception):
    """The dataset cannot be used as it is; every problem found is listed, not only the first."""

    def __init__(self, *problems: Problem) -> None:
        """Keep the problems; at least one."""
        self.problems = problems
        super().__init__("\n".join(f"{p.found}\n  {p.rule}\n  {p.remedy}" for p in problems))
