"""What the regimes read "shift" as: images that are changed, or images that were really taken otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping  # noqa: TC003  # of a property that Pydantic's models are read with
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from adloc.study_file.axes import StudyShift
from adloc.study_file.regimes import CLEAN, SHIFT

Name = Annotated[str, Field(min_length=1)]


class DomainShift(BaseModel):
    """Real shifts: every regime that reads "shift" is run with each target in its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["domains"] = Field(default="domains", description="real shifts, between domains of the images")
    source: str | None = Field(
        default=None,
        description="domain of the images that are read as clean; left out, all images that are of no target: those"
        " without a domain, and those of domains that are not named",
    )
    targets: tuple[Name, ...] | dict[Name, Path] = Field(
        description="domains of the dataset, or names with a second root each, laid out as the dataset's own; the"
        " main tables are of the first",
    )
    synthetic: StudyShift | None = Field(
        default=None, description="a simulated shift of the source's images beside the real ones"
    )

    @model_validator(mode="before")
    @classmethod
    def _has_no_transforms(cls, value: Any) -> Any:  # noqa: ANN401  # whatever stands in the file
        own = set(StudyShift.model_fields) - {"kind"}
        stray = [key for key in value if key in own] if isinstance(value, dict) else []
        if stray:
            message = (
                f"{stray[0]} is of a simulated shift, and real domains are taken as they are\n"
                f"write it under synthetic, as in synthetic: {{{stray[0]}: ..}}, or delete it"
            )
            raise ValueError(message)
        return value

    @field_validator("targets")
    @classmethod
    def _are_others(cls, value: tuple[str, ...] | dict[str, Path], info: Any) -> tuple[str, ...] | dict[str, Path]:  # noqa: ANN401
        source = info.data.get("source")
        twice = [name for name, n in Counter(list(value)).items() if n > 1]
        if not value:
            message = "it must name at least one domain\nwrite for example targets: [illumination]"
        elif twice:
            message = f"each target is named once, {', '.join(twice)} is there twice\ndelete one"
        elif source in value:
            message = f"{source} is the source, whose images are read as clean\ndelete it from targets"
        elif taken := [name for name in value if name in (CLEAN, SHIFT)]:
            message = f"{taken[0]} names images of the source in the results\ngive the target another name"
        else:
            return value
        raise ValueError(message)

    @property
    def domains(self) -> tuple[str, ...]:
        """What regimes are run with in place of "shift", the base first; the simulated one last."""
        return (*self.targets, *([SHIFT] if self.synthetic else []))

    @property
    def roots(self) -> Mapping[str, Path]:
        """By target: its own root; empty where the targets are domains of the dataset."""
        return self.targets if isinstance(self.targets, dict) else {}

    @property
    def transforms(self) -> StudyShift | None:
        """The simulated shift, if there is one."""
        return self.synthetic


def _with_kind(value: Any) -> Any:  # noqa: ANN401  # whatever stands in the file
    """Study files from before there were real shifts name no kind."""
    return {"kind": "synthetic", **value} if isinstance(value, dict) and "kind" not in value else value


AnyShift = Annotated[StudyShift | DomainShift, Field(discriminator="kind"), BeforeValidator(_with_kind)]
