"""The variants of a study's methods: every combination of its grid, as typed parameters."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from adloc.datasets.transform import ImageConfig
from adloc.errors import nearest
from adloc.keys import content_key
from adloc.methods import MethodError, find_method

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from adloc.methods.method import Method
    from adloc.study_file.spec import MethodEntry, StudySpec

IMAGE_KEYS = {f"image.{name}": name for name in ImageConfig.model_fields}
SETTING, DEFAULT, TUNED = "setting", "default", "tuned"


@dataclass(frozen=True, eq=False)
class Variant:
    """One method with one setting; the same one in every run of it, so that what depends on it is made once.

    Attributes:
        method: the registry entry.
        params: every method parameter, defaults included.
        image: the preprocessing, from the study or from this method's params and grid.
        varied: the grid's keys with this variant's values, and its setting, to tell variants apart.
        untuned: hyperparameters of the default beside it, of a tuned variant: what it is tuned from, and so what it
            shares with its like of other categories and repeats, whose tuned values may differ.
    """

    method: Method
    params: BaseModel
    image: ImageConfig
    varied: dict[str, Any] = field(default_factory=dict)
    untuned: dict[str, Any] | None = None

    @property
    def setting(self) -> str:
        """Of a method that is tuned: "default", "tuned", or "tuned_12" for a member of a Pareto set; else ""."""
        return str(self.varied.get(SETTING, ""))

    def hyperparameters(self) -> dict[str, Any]:
        """Method parameters and image settings by name, as plain values; groups of them in words.

        Those that are not written at their defaults (see `adloc.methods.params.MethodParams`), and tiles, are there
        where they are given, or may be.
        """
        return dict(self._hyperparameters)

    @cached_property
    def values(self) -> dict[str, Any]:
        """The method parameters alone, as plain values."""
        return self.params.model_dump(mode="json")

    @cached_property
    def _hyperparameters(self) -> dict[str, Any]:
        image = self.image.model_dump(mode="json")
        late: frozenset[str] = getattr(type(self.params), "late", frozenset())
        words = {name: str(getattr(self.params, name)) for name in late if name in self.values or name in self.varied}
        if self.image.tiles is not None or "image.tiles" in self.varied:
            image["tiles"] = None if self.image.tiles is None else str(self.image.tiles)
        return self.values | words | {f"image.{k}": v for k, v in image.items()}


@dataclass(frozen=True, slots=True)
class Winner:
    """What a search found.

    Attributes:
        entry: number of the method's entry in the study.
        combination: number of the grid's combination in it.
        repeat: whose parts it was found on.
        category: None when it is for all.
        setting: "tuned", or "tuned_12" for a member of a Pareto set.
        values: of the space's hyperparameters.
    """

    entry: int
    combination: int
    repeat: int
    category: str | None
    setting: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MethodProblem:
    """A mistake in a method entry: a Pydantic error with its model, or a complaint in words.

    Attributes:
        loc: where in the study file.
        error: of validating `model`; None where the words say it.
        skip: how many leading parts of the error's locations are not in the study file.
    """

    loc: tuple[str | int, ...]
    error: ValidationError | None = None
    model: type[BaseModel] = BaseModel
    skip: int = 0
    state: str = ""
    rule: str = ""
    remedy: str = ""


def check_methods(spec: StudySpec) -> list[MethodProblem]:
    """Every mistake in the methods of a study and in how its keys fit together."""
    problems = [p for index, entry in enumerate(spec.methods) for p in _check_entry(index, entry, spec)]
    return problems + list(_check_calibration(spec))


def variants(
    spec: StudySpec, winners: Sequence[Winner] = (), repeat: int = 0, category: str | None = None
) -> list[Variant]:
    """All variants of a valid study, in the order of the file; equal ones once.

    Args:
        spec: the study.
        winners: of the searches that are done; each stands after the default that it was tuned from.
        repeat: whose winners are wanted.
        category: the same; None for none but those of all categories.
    """
    found: list[Variant] = []
    for index, entry in enumerate(spec.methods):
        for number, values in enumerate(combinations(entry)):
            default = make_variant(entry, values, spec.image)
            tuned = [
                make_variant(entry, values | dict(w.values), spec.image, w.setting, default.hyperparameters())
                for w in winners
                if (w.entry, w.combination, w.repeat) == (index, number, repeat) and w.category in (None, category)
            ]
            found += [default, *tuned]
    unique: dict[str, Variant] = {}
    for variant in found:
        chosen = [each.model_dump(mode="json") for each in (variant.params, variant.image)]
        unique.setdefault(content_key([variant.method.name, *chosen, variant.setting]), variant)
    return list(unique.values())


def make_variant(
    entry: MethodEntry,
    values: dict[str, Any],
    image: ImageConfig,
    setting: str = DEFAULT,
    untuned: dict[str, Any] | None = None,
) -> Variant:
    """The variant of an entry with these values; without any of the space, the untuned one.

    Raises:
        ValidationError: the values do not fit together.
    """
    method = find_method(entry.method)
    values = (entry.tune.start if entry.tune else {}) | values
    params = method.params.model_validate({k: v for k, v in values.items() if k not in IMAGE_KEYS})
    changed = {IMAGE_KEYS[k]: v for k, v in values.items() if k in IMAGE_KEYS}
    image = ImageConfig.model_validate(image.model_dump() | changed)
    varied = {k: values[k] for k in entry.grid} | ({SETTING: setting} if entry.tune else {})
    return Variant(method, params, image, varied, untuned)


def network_of(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """(backbone, weights) of a method's parameters; None for a method, or a setting, without a backbone."""
    if values.get("backbone") is None:
        return None
    return str(values["backbone"]), str(values.get("weights", "default"))


def combinations(entry: MethodEntry) -> Iterator[dict[str, Any]]:
    """The params with each combination of the grid."""
    for values in itertools.product(*entry.grid.values()):
        yield entry.params | dict(zip(entry.grid, values, strict=True))


def _check_entry(index: int, entry: MethodEntry, spec: StudySpec) -> Iterator[MethodProblem]:
    root = ("methods", index)
    try:
        method = find_method(entry.method)
    except MethodError as error:
        state = f"is {entry.method}" if error.found.startswith("method is ") else f"cannot be used: {error.found}"
        yield MethodProblem((*root, "method"), state=state, rule=error.rule, remedy=error.remedy)
        return
    values: list[tuple[tuple[str | int, ...], str, object]] = [
        ((*root, "params", key), key, value) for key, value in entry.params.items()
    ]
    for key, options in entry.grid.items():
        if not options:
            yield MethodProblem(
                (*root, "grid", key),
                state="is an empty list",
                rule="a grid's key must list at least one value",
                remedy="list its values, or move it to params",
            )
        if key in entry.params:
            yield MethodProblem(
                (*root, "grid", key),
                state=f"is also in methods[{index}].params",
                rule="a key stands in one of params and grid",
                remedy="delete one of the two",
            )
        values += [((*root, "grid", key, j), key, value) for j, value in enumerate(options)]
    wrong = False
    for loc, key, value in values:
        problem = check_value(method, loc, key, value)
        if problem:
            wrong = True
            yield problem
    if not wrong:
        yield from _check_combinations(root, method, entry, spec)


def check_value(method: Method, loc: tuple[str | int, ...], key: str, value: object) -> MethodProblem | None:
    """One value on its own; how values fit together is seen once all of them are right."""
    model, name = (ImageConfig, IMAGE_KEYS[key]) if key in IMAGE_KEYS else (method.params, key)
    if name not in model.model_fields:
        names = [*method.params.model_fields, *IMAGE_KEYS]
        depth = loc.index(key) + 1
        return MethodProblem(
            loc[:depth],
            state=f"is not a parameter of {method.name}",
            rule=f"the parameters are {', '.join(names)}",
            remedy=nearest(key, names),
        )
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        if any(item["loc"][:1] == (name,) for item in error.errors(include_url=False)):
            return MethodProblem(loc, error, model, skip=1)
    return None


def _check_combinations(
    root: tuple[str | int, ...], method: Method, entry: MethodEntry, spec: StudySpec
) -> Iterator[MethodProblem]:
    seen: set[str] = set()
    for values in combinations(entry):
        try:
            variant = make_variant(entry, values, spec.image)
        except ValidationError as error:
            if str(error.errors()[0]["msg"]) not in seen:
                seen.add(str(error.errors()[0]["msg"]))
                yield MethodProblem(root, error, method.params)
        else:
            if variant.image.tiles is not None and method.reads == "images" and "tiles" not in seen:
                seen.add("tiles")
                yield MethodProblem(
                    (*root, "method"),
                    state=f"is {entry.method}, and image.tiles is {variant.image.tiles}",
                    rule="tiles are for methods on backbone features: this one reads the whole image",
                    remedy="use image.tiles: null with it, or leave it out of this study",
                )


def _check_calibration(spec: StudySpec) -> Iterator[MethodProblem]:
    """Whether the validation part can give the threshold that is asked for."""
    normals, anomalies = spec.split.train_fraction < 1, spec.split.validation_defects > 0
    if normals and not anomalies and spec.thresholds.objective == "f1":
        yield MethodProblem(
            ("thresholds", "objective"),
            state="is f1, and split.validation_defects is 0",
            rule="F1 is not defined on a validation part without anomalous images",
            remedy="use thresholds.objective: normal_quantile or normal_max, or split.validation_defects: 0.3",
        )
    if anomalies and not normals:
        yield MethodProblem(
            ("split", "train_fraction"),
            state=f"is {spec.split.train_fraction:g}, and split.validation_defects is"
            f" {spec.split.validation_defects:g}",
            rule="a validation part of anomalous images alone calibrates nothing",
            remedy="use split.train_fraction: 0.8, or split.validation_defects: 0 for the standard split",
        )
    if spec.thresholds.scope != "category" and "unified" not in spec.scopes:
        yield MethodProblem(
            ("thresholds", "scope"),
            state=f"is {spec.thresholds.scope}, and scopes has no unified",
            rule="one threshold for all categories needs one model for all: scores of separate models do not compare",
            remedy="use thresholds.scope: category, or add unified to scopes",
        )
