"""A run that ranks its validation images worse than plain distances do says so; one that does not is silent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from adloc.answer.claims import find_claims
from adloc.answer.results import WARNINGS, brief
from adloc.answer.warned import find_warnings
from adloc.computing.diagnosis import Scoring, compare, diagnose
from adloc.errors import StageMismatchError
from adloc.methods import METHODS, load_detector
from adloc.methods.detector import Rescoring, Result, StepContext
from adloc.methods.padim.params import PadimParams
from adloc.methods.patchcore.detector import PatchCore
from adloc.methods.patchcore.params import PatchCoreParams
from adloc.metrics.chunk import Chunk
from adloc.record.diagnosed import PlainComparison, marks, warnings
from adloc.record.records import Records
from adloc.uncertainty.delong import compare_aurocs
from adloc.workspace import Workspace
from categories import write_category
from commandline import adloc
from detectors import draw_two_layers
from handmade import finding, images, material, setting
from plans import plan_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIX_AND_SIX = np.repeat([False, True], 6)


def scoring(scores: Any, labels: NDArray[np.bool_] = SIX_AND_SIX) -> Scoring:
    """Image scores alone."""
    return Scoring(np.asarray(scores, dtype=np.float32), labels)


def mapped(maps: NDArray[np.floating], masks: NDArray[np.bool_], void: NDArray[np.bool_] | None = None) -> Scoring:
    """Maps of images that all have one score."""
    labels = masks.any(axis=(1, 2))
    chunk = Chunk(maps.astype(np.float32), masks, labels, void)
    return Scoring(np.zeros(len(maps), np.float32), labels, lambda: [chunk])


def squares(n_anomalous: int) -> NDArray[np.bool_]:
    """Six normal images of 12 x 12, and anomalous ones with a defect of 3 x 3 each."""
    masks = np.zeros((6 + n_anomalous, 12, 12), dtype=bool)
    for index in range(n_anomalous):
        masks[6 + index, index : index + 3, 2:5] = True
    return masks


def of_metric(low: float, high: float, metric: str = "pixel_aupro", **values: Any) -> PlainComparison:
    """PatchCore's reweight every_patch at PRO .027, and .991 without it, unless said otherwise."""
    base = {"parameter": "reweight", "value": "every_patch", "plain": "none", "figure": 0.027, "plain_figure": 0.991}
    return PlainComparison.model_validate(base | {"metric": metric, "low": low, "high": high} | values)


def test_inverted_images_are_surely_worse() -> None:
    """By hand: AUROC 0 against 1, whichever image is left out, so the difference is 1 without any spread."""
    found = compare(scoring([*range(1, 7), *range(-6, 0)]), scoring([*range(1, 7), *range(7, 13)]))["image_auroc"]
    assert (found.own, found.plain, found.interval.low, found.interval.high) == (0, 1, 1, 1)


def test_inverted_pixels_are_surely_worse_though_images_are_ranked_alike() -> None:
    """By hand: every normal pixel comes before every defect pixel, PRO 0; the other way round 1; images say nothing."""
    masks = squares(6)
    found = compare(mapped(~masks, masks), mapped(masks, masks))
    assert found.keys() == {"pixel_auroc", "pixel_aupro"}
    for each in found.values():
        assert (each.own, each.plain) == (0, 1)
        assert each.interval.low == pytest.approx(1)


def test_the_interval_of_image_auroc_is_delongs() -> None:
    """Of AUROC the jackknife's variance is DeLong's; half the width is that by a t of Welch's freedom."""
    rng, labels = np.random.default_rng(3), np.repeat([False, True], [15, 9])
    own, plain = (rng.normal(size=24).astype(np.float32) + s * labels for s in (0.5, 1.5))
    found, tested = (
        compare(scoring(own, labels), scoring(plain, labels))["image_auroc"],
        compare_aurocs(plain, own, labels),
    )
    assert found.plain - found.own == pytest.approx(tested.difference)
    centre, half = (found.interval.low + found.interval.high) / 2, (found.interval.high - found.interval.low) / 2
    assert centre == pytest.approx(tested.difference)
    widest, narrowest = (student.ppf(0.975, n) * tested.standard_error for n in (8, 8 + 14))
    assert narrowest < half < widest


def test_what_a_parameter_does_not_change_is_not_compared() -> None:
    """Equal scores and maps: no comparison, and nothing to warn of."""
    masks = squares(6)
    assert compare(mapped(masks, masks), mapped(masks, masks)) == {}


@pytest.mark.parametrize(("n_anomalous", "n_compared"), [(4, 0), (5, 2)])
def test_few_images_are_silent(n_anomalous: int, n_compared: int) -> None:
    """Four defects tell nothing, however far the figures are apart; five do."""
    masks = squares(n_anomalous)
    assert len(compare(mapped(~masks, masks), mapped(masks, masks))) == n_compared


def test_images_without_a_known_mask_bear_no_pixel_comparison() -> None:
    """Of eight anomalous images four are void: pixels are those of four, too few."""
    masks, void = squares(8), np.zeros((14, 12, 12), dtype=bool)
    void[6:10] = True
    own, plain = (mapped(maps, masks & ~void, void) for maps in (~masks, masks))
    labels = np.repeat([False, True], [6, 8])
    assert compare(replace(own, labels=labels), replace(plain, labels=labels)) == {}


def test_scorings_that_are_equally_good_are_rarely_warned_of() -> None:
    """Of 1,000 pairs of equally good scorings of 12 + 12 images, alike as two weightings are, at most 2.5 % are."""
    rng, labels, n_warned = np.random.default_rng(0), np.repeat([False, True], 12), 0
    for _ in range(1000):
        shared = rng.normal(size=24) + labels
        own, plain = (scoring(shared + 0.5 * rng.normal(size=24), labels) for _ in range(2))
        n_warned += compare(own, plain)["image_auroc"].interval.low > 0.01
    assert n_warned <= 25


@pytest.mark.parametrize(("low", "margin", "warned"), [(0.011, 0.01, True), (0.009, 0.01, False), (0.011, 0.05, False)])
def test_a_difference_within_the_margin_is_no_warning(low: float, margin: float, *, warned: bool) -> None:
    """What surely is worse by less than matters to the study is left alone."""
    assert bool(warnings([of_metric(low, 0.2)], margin)) == warned
    assert bool(marks([of_metric(low, 0.2)], margin)) == warned


def test_a_warning_names_parameter_figures_and_remedy() -> None:
    """Only what is clearly worse is told; a figure that is clearly better is not kept back."""
    pixels = [of_metric(-0.2, 0.1, "image_auroc"), of_metric(0.9, 0.98)]
    assert warnings(pixels, 0.01) == (
        "reweight every_patch ranks validation pixels clearly worse than the plain distance (reweight: none): PRO 0.027"
        " against 0.991. Use reweight: none.",
    )
    better = of_metric(-0.3, -0.1, "image_auroc", figure=0.9, plain_figure=0.7)
    (text,) = warnings([better, of_metric(0.9, 0.98)], 0.01)
    assert text.endswith(
        "; it ranks images better: image AUROC 0.900 against 0.700. Use reweight: none unless that matters more."
    )


def test_patchcore_scores_again_without_a_search() -> None:
    """From the distances that are there: those of another reweighting, as if it had been asked for at first."""
    train, test = draw_two_layers(6, seed=1), draw_two_layers(4, seed=2)
    params = PatchCoreParams(coreset_ratio=0.4, neighbours=3, image_score=20.0)
    plain = params.model_copy(update={"reweight": "none"})
    results = {"coreset": PatchCore().coreset(StepContext(params, train, {}, 0, torch.device("cpu")))}
    results["search"] = PatchCore().search(StepContext(params, test, results, 0, torch.device("cpu")))
    context = StepContext(plain, test, results, 0, torch.device("cpu"))
    found = PatchCore().rescore(context)
    np.testing.assert_array_equal(found.arrays["patch_maps"], results["search"].arrays["distances"][..., 0])
    np.testing.assert_array_equal(found.arrays["image_scores"], PatchCore().scores(context).arrays["image_scores"])


@pytest.mark.slow
def test_padim_scores_again_without_its_model() -> None:
    """The distances on the grid are blurred and reduced in another way, to the bits of a score step of that way."""
    from adloc.methods.padim.detector import Padim

    train, test = draw_two_layers(20, seed=1), draw_two_layers(11, seed=2)
    params, device, padim = PadimParams(layers=("layer2", "layer3"), n_features=6), torch.device("cpu"), Padim()
    plain = params.model_copy(update={"smoothing_sigma": 0.0, "image_score": 5.0})
    results = {"gaussian": padim.gaussian(StepContext(params, train, {}, 0, device))}
    results["scores"] = padim.scores(StepContext(params, test, results, 0, device))
    expected = padim.scores(StepContext(plain, test, {"gaussian": results["gaussian"]}, 0, device))
    found = padim.rescore(StepContext(plain, test, results, 0, device))
    for name in ("image_scores", "patch_maps"):
        np.testing.assert_array_equal(found.arrays[name], expected.arrays[name])


@pytest.mark.slow
@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.plain], ids=lambda m: m.name)
def test_methods_that_name_plain_parameters_can_score_again(method: Any) -> None:
    """Every registry entry: its plain parameters are its own, with a value that they may have."""
    assert isinstance(load_detector(method), Rescoring)
    assert method.plain.keys() <= method.params.model_fields.keys()
    made = method.params.model_validate({"backbone": "resnet18", **method.plain})
    assert {name: getattr(made, name) for name in method.plain} == dict(method.plain)


def test_a_plain_run_has_no_diagnosis_and_no_key_depends_on_one() -> None:
    """Beside the stages that were there; the record's key is the same with it and without."""
    methods = [
        {"method": "patchcore", "params": {"backbone": "resnet18"}, "grid": {"reweight": ["none", "every_patch"]}}
    ]
    plain, weighed = plan_of(("a",), methods=methods, split={"train_fraction": 0.7}).runs
    assert plain.diagnosis is None
    assert weighed.diagnosis is not None
    assert dict(weighed.diagnosis.plain) == {"reweight": "none"}
    assert weighed.diagnosis in tuple(weighed.stages())
    assert replace(weighed, diagnosis=None).key == weighed.key


@pytest.mark.parametrize(
    ("study", "metrics"),
    [
        ({}, ("image_auroc", "pixel_auroc", "pixel_aupro")),
        ({"evaluation": {"mode": "streaming"}}, ("image_auroc",)),
        ({"evaluation": {"metrics": ["pixel_aupro"]}}, ("pixel_aupro",)),
        ({"evaluation": {"metrics": ["image_f1"]}}, None),
        ({"split": {"validation_defects": 0.2}}, None),  # 4 anomalous validation images
        ({"split": {"train_fraction": 1, "validation_defects": 0}}, None),
    ],
)
def test_what_is_compared_follows_the_study(study: dict[str, Any], metrics: tuple[str, ...] | None) -> None:
    """The rankings that it asks for; pixels where all maps are at hand; nothing where images are too few."""
    run = plan_of(("a",), **{"split": {"train_fraction": 0.7}} | study).runs[0]
    assert (run.diagnosis.metrics if run.diagnosis else None) == metrics


def test_a_test_part_is_refused() -> None:
    """The diagnosis is known by validation figures only."""
    run = plan_of(("a",), split={"train_fraction": 0.7}).runs[0]
    assert run.diagnosis is not None
    stage = replace(run.diagnosis, evaluation=run.test)
    context = StepContext(run.variant.params, draw_two_layers(1, 0), {}, 0, torch.device("cpu"))
    with pytest.raises(StageMismatchError, match="takes a ValidationPart and was given a TestPart"):
        diagnose(stage, Result({}), context, PatchCore())


def test_the_claim_has_the_worst_category_and_counts_a_shared_validation_part_once() -> None:
    """Two categories and a second regime on the first's validation part: of two rankings both, the worst is told."""
    of, test = setting("patchcore"), images([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    where = (("brick", "clean", "k1", 0.9), ("brick", "no_adaptation", "k1", 0.9), ("grass", "clean", "k2", 0.3))
    found = [
        finding(of, test, category=category, regime=regime, stages={"diagnosis": key},
                diagnosis=[of_metric(low, 0.99).model_dump()], metrics={"image_auroc": 1.0})
        for category, regime, key, low in where
    ]  # fmt: skip
    made = material(found)
    (claim,) = find_warnings(made)
    assert (claim.kind, claim.settings) == ("warning", ("patchcore",))
    assert claim.text == (
        "patchcore: reweight every_patch ranks validation pixels clearly worse than the plain distance "
        "(reweight: none): PRO 0.027 against 0.991, on brick. Use reweight: none. So it is in 2 of 2 validation "
        "rankings, in none worse than here."
    )
    assert claim in find_claims(made, ())
    rows = made.answer.rows
    assert [row[WARNINGS] for row in rows[:3]] == ["reweight every_patch: pixel_aupro"] * 3
    heads, cells = brief(rows)
    assert {line[heads.index(WARNINGS)] for line in cells} == {"reweight every_patch"}


def test_where_nothing_is_worse_no_table_and_no_claim_changes() -> None:
    """A comparison that is not clear leaves no column, no claim and no limitation."""
    test = images([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    made = material([finding(setting("patchcore"), test, diagnosis=[of_metric(-0.1, 0.3).model_dump()])])
    assert list(find_warnings(made)) == []
    assert all(WARNINGS not in row for row in made.answer.rows)
    assert all(claim.kind != "warning" for claim in find_claims(made, ()))


STUDY = """\
study: diagnosed
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 64}}
regimes: [clean]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, projection_dim: null, coreset_ratio: 0.01}}
    grid: {{reweight: [every_patch, none]}}
heatmaps: 0
models: none
"""


@pytest.mark.slow
def test_a_study_says_that_its_reweighting_ruins_the_maps(tmp_path: Path) -> None:
    """EfficientNet-Lite0 at 64: image AUROC stays at 1 and PRO falls; record, table, JSON, claims and report say so."""
    write_category(tmp_path / "data", "gear", 64, 64, channels=3, n_train=32, n_defects=20)
    file, workspace = tmp_path / "study.yaml", tmp_path / "workspace"
    file.write_text(STUDY.format(root=tmp_path / "data"))
    shown = adloc("study", "run", file, "--workspace", workspace).stdout
    rows = json.loads(adloc("study", "results", file, "--workspace", workspace, "--json").stdout)
    told = {row["params.reweight"]: row for row in rows if row["category"] == "gear"}
    assert told["every_patch"]["val_image_auroc"] == told["none"]["val_image_auroc"] == 1
    assert told["every_patch"]["warnings"].startswith("reweight every_patch: pixel_auroc, pixel_aupro")
    assert told["none"]["warnings"] is None

    records = Records(Workspace(workspace).study_path("diagnosed"))
    own, plain = (records.get(told[name]["run_id"]) for name in ("every_patch", "none"))
    assert own is not None
    assert plain is not None
    assert (plain.diagnosis, plain.warnings) == ((), ())
    compared = {each.metric: each for each in own.diagnosis}
    for metric in ("image_auroc", "pixel_auroc"):  # what the plain run itself has there
        assert compared[metric].figure == own.metrics[f"val_{metric}"]
        assert compared[metric].plain_figure == plain.metrics[f"val_{metric}"]
    (sentence,) = own.warnings
    assert "validation pixels clearly worse than the plain distance" in sentence
    assert sentence.endswith("Use reweight: none.")
    figures = f"PRO {compared['pixel_aupro'].figure:.3f} against {compared['pixel_aupro'].plain_figure:.3f}"
    words = " ".join(shown.split())
    assert figures in words
    told = "warnings: the validation part is ranked clearly worse than by the plain distance, by reweight every_patch"
    assert told in words
    study = Workspace(workspace).study_path("diagnosed")
    assert figures in (study / "report.html").read_text(encoding="utf-8")
    assert any(each["kind"] == "warning" for each in json.loads((study / "claims.json").read_text(encoding="utf-8")))
