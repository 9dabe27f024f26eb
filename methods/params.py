"""What the parameters of every method have in common, and those of every method on backbone features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_serializer
from pydantic_core import PydanticCustomError

from adloc.methods.backbone import BACKBONES, check_weights, find_backbone
from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from pydantic import SerializerFunctionWrapHandler, ValidationInfo, ValidatorFunctionWrapHandler

Own = TypeVar("Own", bound=BaseModel)


class MethodParams(BaseModel):
    """How a wrong value is answered, and which parameters are written.

    A value that is refused gives one error whose message is the rule, and whose context holds `rule` and
    `remedy`. Every field states the two in its `json_schema_extra`.

    Attributes:
        late: parameters that are younger than the keys of results. They are written only at other values than their
            defaults, so that keys, run ids and searches stay those from before there were any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    late: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_late_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        values: dict[str, object] = write(self)
        fields = type(self).model_fields
        return {k: v for k, v in values.items() if k not in self.late or getattr(self, k) != fields[k].default}

    @field_validator("*", mode="wrap")
    @classmethod
    def _state_the_rule(cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        """Refuse a value with the field's own rule instead of Pydantic's words."""
        try:
            return handler(value)
        except ValidationError:
            extra = cls.model_fields[str(info.field_name)].json_schema_extra
            if not isinstance(extra, dict):  # a field without rule and remedy
                raise
            refuse(str(extra["rule"]), str(extra["remedy"]))


class BackboneParams(MethodParams):
    """The network whose features a method reads."""

    backbone: str = Field(
        default="resnet50",
        description="The network whose features are used: a known name, or package.module:function.",
        json_schema_extra={
            "rule": f"it must be one of {', '.join(BACKBONES)}, or package.module:function",
            "remedy": "use resnet50",
        },
    )
    weights: str = Field(
        default="default",
        description="default: the published ImageNet weights; the path of a file; or random, for tests.",
        json_schema_extra={
            "rule": "it must be default, random, or the path of a .pth, .pt or .safetensors file",
            "remedy": "use default",
        },
    )

    @field_validator("backbone")
    @classmethod
    def _backbone_is_known(cls, backbone: str) -> str:
        try:
            find_backbone(backbone)
        except MethodError as error:
            refuse(error.rule, error.remedy)
        return backbone

    @field_validator("weights")
    @classmethod
    def _weights_fit_the_backbone(cls, weights: str, info: ValidationInfo) -> str:
        try:
            check_weights(weights, info.data.get("backbone", "resnet50"))
        except MethodError as error:
            refuse(error.rule, error.remedy)
        return weights

    @field_validator("layers", check_fields=False)
    @classmethod
    def _no_layer_twice(cls, layers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(layers)) < len(layers):
            unique = ", ".join(dict.fromkeys(layers))
            refuse("it must not name a layer twice", f"use [{unique}]")
        return layers


def narrow(params: BaseModel, kind: type[Own]) -> Own:
    """The parameters as those of one method; a detector is given its own, so others are a bug of the caller.

    Raises:
        TypeError: they are another method's.
    """
    if not isinstance(params, kind):
        message = f"a detector with {kind.__name__} was given {type(params).__name__}"
        raise TypeError(message)
    return params


def refuse(rule: str, remedy: str) -> NoReturn:
    """Refuse a value; the rule is the message, the remedy stands beside it in the error's context."""
    raise PydanticCustomError("rule", "{rule}", {"rule": rule, "remedy": remedy})
