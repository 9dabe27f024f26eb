"""What keeps a method from working, said so that it can be mended."""

from __future__ import annotations


class MethodError(Exception):
    """A method, backbone or weight file that cannot be used as asked.

    Attributes:
        found: what was found and where: "weights /data/r50.pth: no such file".
        rule: what must hold.
        remedy: what to do.
    """

    def __init__(self, found: str, rule: str, remedy: str) -> None:
        """Keep the three lines of the message."""
        self.found, self.rule, self.remedy = found, rule, remedy
        super().__init__(f"{found}\n  {rule}\n  {remedy}")


class MissingWeightsError(MethodError):
    """The file of the weights that are asked for is not there: nothing else is wrong with what is asked."""
