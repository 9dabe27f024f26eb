"""What every kind of dataset is: a configuration, as it stands in a study file, that lists its images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, SerializerFunctionWrapHandler, model_serializer

from adloc.datasets.readers.published import Published

if TYPE_CHECKING:
    from adloc.datasets.readers.listing import Listing


class KindConfig(BaseModel, ABC):
    """The keys of `dataset` in a study file for one kind; its docstring's first line says what it is.

    A kind gives `kind` a literal of its own, `kind: Literal["mpdd"] = "mpdd"`, and adds its keys, each with a
    description and, in `json_schema_extra`, the rule and the remedy that a wrong value is answered with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    published: ClassVar[Published | None] = None  # where the data is to be had; None for one's own

    kind: str
    _place: str | None = PrivateAttr(default=None)  # "package.module:CONFIG", where a study file names it so

    @abstractmethod
    def listing(self) -> Listing:
        """List the images, category by category, and all that is wrong as far as names tell; no image is read."""

    @model_serializer(mode="wrap")
    def _named_as_it_is_found(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Write the kind as a study file must name it."""
        values: dict[str, object] = write(self)
        return values if self._place is None else values | {"kind": self._place}

    def at(self, place: str) -> KindConfig:
        """The same, found at "package.module:CONFIG"."""
        found = self.model_copy()
        found._place = place  # noqa: SLF001  # of another one of this class
        return found
