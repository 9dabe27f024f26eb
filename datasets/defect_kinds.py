"""What a dataset says of its kinds of defect: MVTec LOCO's `defects_config.json`, beside each category's folders.

A list with an entry for each kind: `defect_name`, `pixel_value`, `saturation_threshold` and `relative_saturation`
(Bergmann et al., "Beyond Dents and Scratches", IJCV 130, 2022, section 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from adloc.datasets.decoding import read_bytes
from adloc.datasets.errors import DatasetError, Problem

if TYPE_CHECKING:
    from pathlib import Path

NAME = "defects_config.json"
_RULE = "a list of defect_name, pixel_value (1 to 255), saturation_threshold (above 0) and relative_saturation (a bool)"


class DefectKind(BaseModel):
    """One kind of defect: how much of it is enough to find."""

    model_config = ConfigDict(frozen=True)

    defect_name: str
    pixel_value: int = Field(ge=1, le=255, description="that its masks mark it with")
    saturation_threshold: float = Field(
        gt=0, allow_inf_nan=False, description="pixels of the image's own size, or a share of the mask's"
    )
    relative_saturation: bool

    @model_validator(mode="after")
    def _share_is_at_most_all(self) -> DefectKind:
        if self.relative_saturation and self.saturation_threshold > 1:
            raise ValueError("a relative saturation_threshold is a share: at most 1")
        return self


def read_defect_kinds(path: Path) -> tuple[DefectKind, ...]:
    """Return the entries of a `defects_config.json`.

    Raises:
        DatasetError: it cannot be read, is something else, or two kinds have one pixel value.
    """
    try:
        kinds = TypeAdapter(tuple[DefectKind, ...]).validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"]) or "the file"
        raise DatasetError(Problem(f"{path}: {where}: {first['msg']}", _RULE, "unpack the category again")) from None
    if len({kind.pixel_value for kind in kinds}) < len(kinds):
        found = f"{path}: two kinds of defect have one pixel_value"
        raise DatasetError(Problem(found, "a mask's value says which kind it marks", "unpack the category again"))
    return kinds
