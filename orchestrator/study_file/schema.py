"""The JSON Schema of a study file, for editors and other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adloc.datasets import registry as kinds
from adloc.methods import offered
from adloc.study_file.spec import StudySpec
from adloc.study_file.tuning import Dimension, TuneConfig
from adloc.study_file.variants import IMAGE_KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence


_OF_ONES_OWN: dict[str, Any] = {
    "title": "package.module:METHOD",
    "type": "object",
    "required": ["method"],
    "additionalProperties": False,
    "properties": {
        "method": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"},
        "params": {"type": "object"},
        "tune": {"type": "object"},
        "grid": {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}},
    },
}

_KIND_OF_ONES_OWN = {
    "title": "package.module:CONFIG",
    "type": "object",
    "required": ["kind"],
    "properties": {"kind": _OF_ONES_OWN["properties"]["method"]},
}


def study_schema() -> dict[str, Any]:
    """Pydantic's schema of the spec, with each method's parameters in its params and, as lists, in its grid."""
    schema = StudySpec.model_json_schema()
    definitions = schema["$defs"]
    schema["properties"]["dataset"] = {
        "oneOf": [*schema["properties"]["dataset"]["oneOf"], *_foreign_kinds(definitions)]
    }
    image = definitions["ImageConfig"]["properties"]
    entries = []
    for method in (each.method for each in offered() if each.method is not None):
        own = method.params.model_json_schema()
        definitions |= own.pop("$defs", {})
        values = own["properties"] | {key: image[name] for key, name in IMAGE_KEYS.items()}
        lists = {key: {"type": "array", "minItems": 1, "items": value} for key, value in values.items()}
        entries.append(
            {
                "title": method.name,
                "type": "object",
                "required": ["method"],
                "additionalProperties": False,
                "properties": {
                    "method": {"const": method.name},
                    "params": {"type": "object", "properties": values, "additionalProperties": False},
                    "tune": _tune_schema(list(values)),
                    "grid": {"type": "object", "properties": lists, "additionalProperties": False},
                },
            }
        )
    entries.append(_OF_ONES_OWN)
    definitions |= {"Dimension": Dimension.model_json_schema(), "MethodEntry": {"oneOf": entries}}
    return schema | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "adloc study file"}


def _foreign_kinds(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Schemas of the kinds of dataset that installed packages bring, and of one that is named by its place."""
    configs = [each.config for each in kinds.offered() if each.config is not None and each.name not in kinds.KINDS]
    schemas = [config.model_json_schema() for config in configs]
    for schema in schemas:
        definitions |= schema.pop("$defs", {})
    return [*schemas, _KIND_OF_ONES_OWN]


def _tune_schema(names: Sequence[str]) -> dict[str, Any]:
    """A space with the method's own hyperparameters, or auto."""
    space = {"type": "object", "properties": {name: {"$ref": "#/$defs/Dimension"} for name in names}}
    schema = TuneConfig.model_json_schema()
    description = schema["properties"]["space"]["description"]
    start = schema["properties"]["start"] | {"additionalProperties": True}
    return {
        "type": "object",
        "required": ["space"],
        "additionalProperties": False,
        "properties": {
            "space": {
                "description": description,
                "anyOf": [{"const": "auto"}, space | {"additionalProperties": False}],
            },
            "start": start,
        },
    }
