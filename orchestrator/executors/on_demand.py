"""The executor that a study is given: made when it is first needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

from adloc.errors import Complaint, UserError
from adloc.executors.computing import Computing

if TYPE_CHECKING:
    from adloc.executors.executor import Executor


class OnDemand:
    """The executor that is asked for, made when it is first needed: a finished study needs none."""

    def __init__(self, computing: Computing | None = None) -> None:
        """Prepare; nothing is imported or started. By default everything in this process."""
        self._computing = computing or Computing()

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of what was started."""
        if "executor" in self.__dict__:
            self.executor.close()

    @property
    def name(self) -> Literal["local", "ray"]:
        """Which executor it is; it need not be made for that."""
        return self._computing.executor

    @cached_property
    def executor(self) -> Executor:
        """The executor.

        Raises:
            UserError: Ray is asked for and not installed.
        """
        if self._computing.executor == "local":
            from adloc.executors.local import LocalExecutor

            return LocalExecutor(self._computing)
        try:
            from adloc.executors.ray_executor import RayExecutor
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            raise UserError(
                Complaint(
                    "--executor ray: Ray is not installed",
                    "it is an extra of this package",
                    "pip install 'adloc[ray]', or use --executor local",
                )
            ) from None
        return RayExecutor(self._computing)
