"""Hook of MkDocs: the reference of the study file, made from the JSON Schema that `adloc schema` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from adloc.study_file.schema import study_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PLACE = "<!-- made from the schema -->"
HEAD = "| key | value | default | what it is |\n|---|---|---|---|"
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "`null`",
    "object": "mapping",
}
METHODS = """\
## methods

A list. Each entry has `method` and, all optional, `params` (values), `grid` (a list of values for each parameter: every
combination runs) and `tune` (`space`: `auto`, or a dimension for each parameter; `start`: values of the first trial). A
method of your own is named by its entry point or as `package.module:METHOD`."""

Schema = dict[str, Any]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  MkDocs'
    """Put the reference where the page has a place for it."""
    return markdown.replace(PLACE, reference(study_schema())) if PLACE in markdown else markdown


def reference(schema: Schema) -> str:
    """A table of the keys with single values, then a section for each other key of a study file."""
    definitions = schema["$defs"]
    keys = {key: resolved(value, definitions) for key, value in schema["properties"].items()}
    entries = keys.pop("methods")
    plain = [row(key, value, key in schema["required"]) for key, value in keys.items() if not objects(value)]
    sections = [section(key, value) for key, value in keys.items() if objects(value)]
    dimension = resolved(definitions["Dimension"], definitions)
    methods = [
        f"### {entry['title']}\n\n{table(entry['properties']['params'])}"
        for entry in objects(entries["items"])
        if "const" in entry["properties"]["method"]
    ]
    methods = [METHODS, f"### A dimension of tune.space\n\n{table(dimension)}", *methods]
    return "\n\n".join([f"## Single values\n\n{HEAD}\n" + "\n".join(plain), *sections, *methods])


def resolved(value: Any, definitions: dict[str, Schema]) -> Any:  # noqa: ANN401  JSON
    """The same with every reference replaced by what it refers to, under the keys beside it."""
    if isinstance(value, list):
        return [resolved(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        value = definitions[value["$ref"].rpartition("/")[2]] | {k: v for k, v in value.items() if k != "$ref"}
    return {key: resolved(each, definitions) for key, each in value.items()}


def section(key: str, value: Schema) -> str:
    """A key whose value has keys of its own: a table for each form that it may have."""
    forms = objects(value)
    parts = [f"## {key}"]
    for form in forms:
        if len(forms) > 1:
            kind = form["properties"].get("kind", {}).get("const")
            parts.append(f"### kind: {kind}" if kind else f"### {form['title']}")
        parts += [one_line(form.get("description", "")), table(form)]
    return "\n\n".join(part for part in parts if part)


def objects(value: Schema) -> list[Schema]:
    """The objects with keys of their own that a value may be."""
    if "properties" in value:
        return [value]
    return [found for each in alternatives(value) for found in objects(each)]


def alternatives(value: Schema) -> list[Schema]:
    """What a value may be, one of these."""
    return [*value.get("oneOf", ()), *value.get("anyOf", ())]


def table(schema: Schema) -> str:
    """A row for each key, and under it, as `key.inner`, for each key that its value has in turn."""
    return "\n".join([HEAD, *rows(schema, "")])


def rows(schema: Schema, prefix: str) -> Iterator[str]:
    """Rows of an object's keys, depth first."""
    for key, value in schema.get("properties", {}).items():
        yield row(prefix + key, value, key in schema.get("required", ()))
        for inner in objects(value):
            yield from rows(inner, f"{prefix}{key}.")


def row(key: str, value: Schema, required: bool) -> str:  # noqa: FBT001  a cell of the table
    """One key: what it may be, by its rule where it has one, else by its type."""
    may_be = value["rule"].removeprefix("it must be ") if "rule" in value else words(value)
    default = "required" if required else f"`{json.dumps(value['default'])}`" if "default" in value else ""
    cells = (f"`{key}`", may_be, default.replace('"', ""), value.get("description", ""))
    escaped = (one_line(each).replace("|", "\\|").replace("<", "&lt;") for each in cells)
    return f"| {' | '.join(escaped)} |"


def words(value: Schema) -> str:
    """What a value without a rule may be."""
    if "const" in value or "enum" in value:
        return ", ".join(f"`{each}`" for each in value.get("enum", [value.get("const")]))
    if either := alternatives(value):
        return " or ".join(dict.fromkeys(words(each) for each in either))
    if "prefixItems" in value:
        return f"[{', '.join(words(each) for each in value['prefixItems'])}]"
    if "items" in value:
        return f"list of {words(value['items'])}"
    return TYPES.get(value.get("type", ""), "any value")


def one_line(text: str) -> str:
    """The text without its breaks."""
    return " ".join(text.split())
