"""How many runs a study asks for: counted before it is planned, and too many are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from adloc.errors import UserError
from adloc.keys import canonical, content_key, key_of_lists
from adloc.planning.plan import each_stage, make_plan
from adloc.study import prepare
from adloc.study_file.size import size_of
from adloc.study_file.spec import StudySpec
from adloc.study_file.validation import load_study
from adloc.workspace import Workspace
from commandline import adloc
from plans import inventory, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAIN = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3)


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study file of one PatchCore grid on the textures."""

    def write(grid: dict[str, list[Any]], **keys: Any) -> Path:
        path = tmp_path / "large.yaml"
        method = {"method": "patchcore", "params": {"backbone": "efficientnet_lite0"}, "grid": grid}
        dataset = {"kind": "textures", "n_train": 5, "n_test_good": 2, "n_per_defect": 1}
        with path.open("w") as stream:
            thresholds = {"objective": "normal_max"}
            YAML().dump(
                {"study": "large", "dataset": dataset, "thresholds": thresholds, "methods": [method], **keys}, stream
            )
        return path

    return write


def test_a_billion_combinations_are_refused_before_one_is_made(file: Callable[..., Path]) -> None:
    """Expanding them would take hours: the command line answers at once, with the number and where it comes from."""
    hundred = [*range(1, 101)]
    grid = {"coreset_ratio": [n / 100 for n in hundred], "smoothing_sigma": hundred, "neighbours": hundred,
            "projection_dim": hundred, "image.size": hundred[31:41]}  # fmt: skip
    path = file(grid, regimes=["clean", "no_adaptation"])
    for verb in ("validate", "plan"):
        output = adloc("study", verb, path, expect=2).output
        assert "methods[0].grid is part of 2,000,000,000 runs of 1,000,000,000 variants" in output
        assert "max_runs: 20000" in output


def test_a_study_of_as_many_runs_as_it_may_have_is_planned(file: Callable[..., Path]) -> None:
    """Two values, two regimes and three categories are twelve runs, of which only the dataset knows the three."""
    path = file({"neighbours": [2, 3]}, regimes=["clean", "no_adaptation"])
    workspace = Workspace(path.parent / "workspace")
    load_study(path, ["max_runs=11"])
    assert len(prepare(path, ["max_runs=12"], workspace, download=False).plan.runs) == 12
    with pytest.raises(UserError, match="12 runs of 2 variants"):
        prepare(path, ["max_runs=11"], workspace, download=False)


@pytest.mark.parametrize(
    "study",
    [
        {"regimes": ["clean", "no_adaptation", "threshold_only"], "repeats": 3},
        {"scopes": ["category", "unified"], "thresholds": {"scope": "both"}},
        {"regimes": ["clean", "no_adaptation"], "shift": {"severity": [0.5, 1, 2, 2], "factors": "each"}},
        {"train": {"images": [4, 8, "all"], "contamination": [0, 0.1]}},
        {"learning_curve": {"train_images": [1, 2, 4, "all"], "draws": 2}, "regimes": ["clean", "threshold_only"]},
        {"methods": [{"method": "patchcore", "params": {"backbone": "resnet18"},
                      "grid": {"neighbours": [2, 3, 3, 9], "smoothing_sigma": [0, 4]}},
                     {"method": "padim", "params": {"backbone": "resnet18"}}]},
    ],
)  # fmt: skip
def test_size_by_arithmetic_is_the_number_of_runs_planned(study: dict[str, Any]) -> None:
    """Whatever multiplies runs."""
    plan = plan_of(**study)
    assert size_of(plan.spec, len(plan.parts)).n_runs == len(plan.runs)


def test_a_method_that_is_tuned_runs_as_it_is_and_tuned() -> None:
    """Twice each combination of its grid."""
    tuned = {"method": "patchcore", "params": {"backbone": "resnet18"}, "grid": {"neighbours": [2, 3]},
             "tune": {"space": {"coreset_ratio": {"low": 0.01, "high": 0.2}}}}  # fmt: skip
    spec = StudySpec.model_validate({"study": "s", "dataset": {"kind": "textures"}, "methods": [tuned]})
    assert size_of(spec, 3).n_runs == 12
    assert len(make_plan(spec, inventory(["a", "b", "c"])).runs) == 6  # nothing is tuned yet


def test_how_many_runs_there_may_be_is_in_no_key() -> None:
    """A study that is allowed more keeps what it has."""
    assert [run.key for run in plan_of(max_runs=7).runs] == [run.key for run in plan_of().runs]


def test_each_stage_comes_once_after_what_it_needs() -> None:
    """As many as there are when every run's own are taken together, and no result is asked for before it is there."""
    plan = plan_of(regimes=["clean", "no_adaptation", "full_adaptation"], scopes=["category", "unified"])
    stages = list(each_stage(plan.runs))
    assert len({id(stage) for stage in stages}) == len(stages)
    assert {id(stage) for stage in stages} == {id(stage) for run in plan.runs for stage in run.stages()}
    assert {stage.key for stage in stages} == {stage.key for run in plan.runs for stage in run.stages()}
    seen: set[str] = set()
    for key, stage in plan.stages.items():
        assert {each.key for each in getattr(stage, "before", ())} <= seen
        seen.add(key)


def test_variants_that_differ_in_their_maps_share_every_step_before() -> None:
    """A grid over the smoothing makes no coreset and no search again: one for each ratio and part."""
    method = {"method": "patchcore", "params": {"backbone": "resnet18"},
              "grid": {"coreset_ratio": [0.01, 0.1], "smoothing_sigma": [0, 1, 2, 4]}}  # fmt: skip
    stages = list(each_stage(plan_of(methods=[method], regimes=["clean", "no_adaptation"]).runs))
    for kind, n_made in (("patchcore.coreset", 2 * 2), ("patchcore.search", 2 * 2 * 3)):  # ratios, categories, parts
        assert sum(stage.kind == kind for stage in stages) == n_made
    scores = [stage for stage in stages if stage.kind == "patchcore.scores"]
    assert {stage.params.smoothing_sigma for stage in scores} == {0, 1, 2, 4}  # type: ignore[union-attr]  # of steps


@settings(max_examples=30)
@given(st.lists(st.lists(PLAIN | st.lists(PLAIN, max_size=2), min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_key_of_lists_is_that_of_their_items_together(lists: list[list[Any]]) -> None:
    """What is encoded once for many keys gives the keys that it always gave."""
    assert key_of_lists(*map(canonical, lists)) == content_key([item for each in lists for item in each])
