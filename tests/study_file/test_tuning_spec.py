"""Tuning in a study file: what is refused, and with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adloc.errors import UserError
from adloc.study_file.validation import load_study
from adloc.tuning.search import searches

if TYPE_CHECKING:
    from pathlib import Path

VALID = """\
study: trial
dataset: {kind: textures, categories: [brick, grass]}
methods:
  - method: patchcore
    params: {backbone: efficientnet_lite0}
    tune:
      space:
        coreset_ratio: {low: 0.01, high: 0.25, log: true}
        neighbours: {low: 1, high: 15, type: int}
        patch_size: {choices: [1, 3, 5]}
        image.size: {choices: [192, 224, 256]}
tuning:
  metric: val_image_auroc
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A valid study that tunes."""
    path = tmp_path / "s.yaml"
    path.write_text(VALID)
    return path


def complaint(path: Path, *overrides: str) -> list[str]:
    """The three lines of the one complaint."""
    with pytest.raises(UserError) as caught:
        load_study(path, overrides)
    (only,) = caught.value.complaints
    return str(only).split("\n")


@pytest.mark.parametrize(
    ("override", "state", "rule", "remedy"),
    [
        ("tuning.metric=image_auroc", "tuning.metric is image_auroc", "validation part alone", "val_image_auroc"),
        ("tuning.metric=[val_image_auroc, pixel_auroc]", "pixel_auroc", "validation part alone", "val_pixel_auroc"),
        ("tuning.metric=val_model_mb", "is val_model_mb", "val_image_f1", "val_image_auroc"),
        ("tuning.trials=0", "tuning.trials is 0", "whole number from 1", "40"),
        ("tuning.sampler=tp", "tuning.sampler is tp", "tpe, gp, random", "did you mean tpe?"),
        ("tuning.across=all", "tuning.across is all", "macro, category", ""),
        ("tuning.constraints={model_mb: 0}", "tuning.constraints.model_mb is 0", "above 0", "200"),
        ("tuning.trails=3", "tuning.trails is not a key here", "trials", "did you mean trials?"),
        ("methods[0].tune.space=[]", "tune.space is []", "auto", "coreset_ratio"),
        ("methods[0].tune.space=all", "tune.space is all", "hyperparameters with their range", "coreset_ratio"),
        ("methods[0].tune.start={neighbours: 1}", "reweight is every_patch", "neighbours of 2 or more", "none"),
        ("methods[0].tune.space={}", "tune.space is empty", "something to search", "coreset_ratio"),
        ("methods[0].params.patch_size=3", "space.patch_size is also in methods[0].params", "one of", "delete"),
        ("methods[0].grid.patch_size=[3]", "space.patch_size is also in methods[0].grid", "one of", "delete"),
        ("methods[0].tune.space.coreset_ratio.high=2", "coreset_ratio.high is 2", "at most 1", "0.01"),
        ("methods[0].tune.space.coreset_ratio.low=0.5", "goes from 0.5 to 0.25", "below high", "exchange"),
        ("methods[0].tune.space.coreset_ratio.low=0", "goes from 0 to 0.25", "above 0", "log"),
        ("methods[0].tune.space.neighbours.type=float", "range of fractions", "whole numbers", "type: int"),
        ("methods[0].tune.space.neighbours.high=9.5", "goes from 1 to 9.5", "whole ends", "type: int"),
        ("methods[0].tune.space.neighbours.low=0", "neighbours.low is 0", "1 to 1000", "9"),
        ("methods[0].tune.space.patch_size.low=1", "has choices, low", "choices, or a range", "low: ..."),
        ("methods[0].tune.space.patch_size.choices=[1, 4, 3]", "patch_size.choices[1] is 4", "odd", "3"),
        ("methods[0].tune.space.patch_size.choices=[3]", "choices is [3]", "two different", "params"),
        ("methods[0].tune.space.patch_size.choices=[1, 5]", "does not hold 3", "first trial", "tune.start"),
        ("methods[0].tune.space.neigbours={low: 1, high: 2}", "neigbours is not a parameter", "", "neighbours?"),
        ("methods[0].tune.start={metric: cosine}", "start.metric is not in the space", "searched", "params"),
        ("methods[0].tune.start={patch_size: 7}", "start.patch_size is 7", "first trial", "widen"),
        ("split={train_fraction: 1, validation_defects: 0}", "split.train_fraction is 1", "validation part", "0.8"),
    ],
)
def test_mistake_has_place_rule_and_remedy(study: Path, override: str, state: str, rule: str, remedy: str) -> None:
    """Where it is, what was found, the rule, how to mend it."""
    first, second, third = complaint(study, override)
    assert state in first
    assert rule in second
    assert remedy in third


def test_one_model_for_all_has_one_setting(study: Path) -> None:
    """A setting for each category and the unified scope exclude each other."""
    first, *_ = complaint(study, "tuning.across=category", "scopes=[unified]")
    assert "tuning.across is category" in first


def test_start_says_what_is_untuned(study: Path) -> None:
    """A space without the method's default is searched from another value."""
    _, spec = load_study(
        study, ["methods[0].tune.space.patch_size.choices=[1, 5]", "methods[0].tune.start.patch_size=5"]
    )
    (search,) = searches(spec, ["brick"])
    assert search.first == {"coreset_ratio": 0.05, "neighbours": 9, "patch_size": 5, "image.size": 224}


@pytest.mark.parametrize("method", ["patchcore", "padim"])
def test_auto_is_the_methods_own_space(study: Path, method: str) -> None:
    """Without what params or grid fix; every default lies in it."""
    _, spec = load_study(study, [f"methods=[{{method: {method}, tune: {{space: auto}}}}]"])
    whole = set(searches(spec, ["brick"])[0].space)
    fixed = min(whole)
    value = {"coreset_ratio": 0.1, "n_features": 60}[fixed]
    _, spec = load_study(
        study, [f"methods=[{{method: {method}, params: {{{fixed}: {value}}}, tune: {{space: auto}}}}]"]
    )
    assert set(searches(spec, ["brick"])[0].space) == whole - {fixed}


def test_searches_are_one_a_combination_category_and_repeat(study: Path) -> None:
    """Each with its own name; with macro one for all categories."""
    overrides = ["methods[0].grid={metric: [euclidean, cosine]}", "repeats=2"]
    _, spec = load_study(study, overrides)
    assert len(searches(spec, ["brick", "grass"])) == 2 * 2
    _, spec = load_study(study, [*overrides, "tuning.across=category"])
    found = searches(spec, ["brick", "grass"])
    assert len({search.name for search in found}) == len(found) == 2 * 2 * 2


def test_resolved_spec_is_a_study_file_again(study: Path) -> None:
    """What is recorded as study.yaml can be run."""
    from adloc.study import spec_yaml

    _, spec = load_study(study)
    study.write_text(spec_yaml(spec))
    assert load_study(study)[1] == spec
