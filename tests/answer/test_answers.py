"""Which claims a study of each kind yields, and that every shipped study's claims answer its own question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adloc.answer.answer import Answer
from adloc.answer.claims import find_claims
from adloc.answer.verdicts import judge
from adloc.planning.plan import make_plan
from adloc.study import Study, _inventory
from adloc.study_file.validation import load_study
from adloc.study_file.variants import Winner
from adloc.workspace import Workspace
from checkout import ROOT
from handmade import compared_by_hand, finding, gathered, images, material, setting, write_records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adloc.answer.claim import Claim
    from adloc.answer.finding import Finding, Setting
    from adloc.answer.paired import Comparison
    from adloc.planning.plan import Run

STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
REGIMES = ("clean", "no_adaptation", "threshold_only", "full_adaptation")
# normal images score 1 to 4, defects 4 to 7: at 4 one false alarm in four and no miss
LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
SCORES = [1, 2, 3, 4, 4, 5, 6, 7]


def run(of: Setting, figure: float, *, regime: str = "clean", category: str = "brick", **metrics: float) -> Finding:
    """A run with this validation AUROC, tested worse the better it was validated."""
    known = {"val_image_auroc": figure, "image_auroc": 1.5 - figure, "image_fpr": 0.25, "image_fnr": 0.0}
    part = images(SCORES, LABELS)
    return finding(of, part, part, regime=regime, category=category, threshold=4.0, metrics=known | metrics)


def claims_of(runs: Sequence[Finding], answer: Answer | None = None) -> dict[str, list[Claim]]:
    """By kind."""
    found: dict[str, list[Claim]] = {}
    for claim in find_claims(material(runs, answer), ()):
        found.setdefault(claim.kind, []).append(claim)
    return found


def test_a_comparison_names_the_better_validated_method_and_its_rival() -> None:
    """Two methods: chosen by .9 against .8, with the other's test figure; a verdict each; one hardest defect."""
    claims = claims_of([run(setting("one"), 0.8), run(setting("other", 1), 0.9)])
    assert {kind: len(found) for kind, found in claims.items()} == {"use": 1, "chosen": 1, "verdict": 2, "hard": 1}
    assert claims["chosen"][0].settings == ("other", "one")
    assert "image AUROC 0.900 there" in claims["chosen"][0].text
    assert "one has image AUROC 0.700" in claims["chosen"][0].text
    assert [c.settings for c in claims["verdict"]] == [("other",), ("one",)]
    assert all("use it, at the threshold 4: 25.0% false alarms" in c.text for c in claims["verdict"])
    assert "shift" not in "".join(c.text for c in claims["verdict"])


def test_an_ablation_over_numbers_tells_its_ends() -> None:
    """Five sizes of memory: both ends of the axis with test figures and sizes, and what the validation part chose."""
    sizes = {0.2: 0.9, 0.01: 0.6, 0.1: 0.7, 0.05: 0.65, 0.5: 0.8}
    claims = claims_of([
        run(setting(f"r{r}", i, method="m", params={"ratio": r}), v, model_mb=100 * r, pixel_aupro=v)
        for i, (r, v) in enumerate(sizes.items())
    ])  # fmt: skip
    (claim,) = claims["ablation"]
    assert claim.settings == ("r0.2",)
    assert claim.text == (
        "m, image AUROC and PRO over ratio (validation chose 0.2): 0.01: 0.900 and 0.600, 1 MB; "
        "0.5: 0.700 and 0.800, 50 MB."
    )


def test_an_ablation_over_choices_tells_all_of_them() -> None:
    """Lists and words: each choice beside the lead, one parameter at a time; the lead holds the others fixed."""
    values = {("a",): {"none": 0.6, "max": 0.7}, ("a", "b"): {"none": 0.8, "max": 0.9}}
    runs = [
        run(setting(f"{'-'.join(layers)} {w}", 0, method="m", params={"layers": list(layers), "weighting": w}), v,
            model_mb=1.0)
        for layers, of in values.items() for w, v in of.items()
    ]  # fmt: skip
    layers, weighting, *crossed = claims_of(runs)["ablation"]
    assert {c.settings for c in (layers, weighting, *crossed)} == {("a-b max",)}
    assert layers.text == "m, image AUROC and PRO over layers (validation chose a-b): a: 0.800, 1 MB; a-b: 0.600, 1 MB."
    assert weighting.text == (
        "m, image AUROC and PRO over weighting (validation chose max): none: 0.700, 1 MB; max: 0.600, 1 MB."
    )
    (both,) = crossed
    assert both.text == (
        "m, image AUROC over weighting at each layers: a: none 0.900, max 0.800; a-b: none 0.700, max 0.600."
    )


def test_a_study_of_shift_has_a_verdict_of_all_four_states() -> None:
    """What a method does clean, as it is, recalibrated and refitted, with the errors of each."""
    one = setting("one")
    rates = dict(zip(REGIMES, (0.1, 0.9, 0.2, 0.3), strict=True))
    (claim,) = claims_of([run(one, 0.9, regime=r, image_fpr=v) for r, v in rates.items()])["verdict"]
    assert claim.settings == ("one",)
    assert "use it, at the threshold 4: 10.0% false alarms" in claim.text
    assert (
        "when light, pose and sensor change: use it as it is (90.0% false alarms and 0.0% misses as it is, 20.0% false "
        "alarms and 0.0% misses recalibrated, 30.0% false alarms and 0.0% misses refitted)"
    ) in claim.text


def test_a_unified_model_is_set_beside_separate_ones_with_its_worst_confusion() -> None:
    """What one model changes is its figure less theirs; of the matrix the largest cell off the diagonal is told."""
    many, one = setting("many", method="m"), setting("all", 1, method="m", scope="unified")
    figures = {many: {"model_mb": 2.0, "image_f1": 0.8}, one: {"model_mb": 3.0, "image_f1": 0.7}}
    runs = [run(s, 0.9, category=c, **figures[s]) for s in figures for c in "ab"]
    row: dict[str, Any] = {"method": "m", "regime": "clean", "repeat": 0}
    cells = [("a", "a", 0.9), ("a", "b", 0.2), ("b", "a", 0.4), ("b", "b", 0.8)]
    shortcut = [row | {"images_of": a, "threshold_of": b, "flagged": v} for a, b, v in cells]
    (claim,) = claims_of(runs, Answer([], [], [], shortcut, []))["unified"]
    assert claim.settings == ("all", "many")
    assert claim.text == (
        "m: one model for all categories in place of one each changes image AUROC +0.000, image F1 "
        "\N{MINUS SIGN}0.100, and is 3 MB in place of 4 MB; at worst 40% of the normal images of b pass for defects at "
        "the threshold of a."
    )


@pytest.mark.parametrize("categories", ["a", "ab"])
def test_tuning_tells_its_gain_on_both_parts(categories: str) -> None:
    """The macro row of the first repeat alone: what was gained where it was sought, and what holds on the test part."""
    base = {"method": "m", "setting": "tuned", "repeat": 0, "gain_val_image_auroc": 0.1, "gain_image_auroc": -0.02}
    gains: list[dict[str, Any]] = [
        base | {"category": "macro"},
        base | {"category": "a", "gain_val_image_auroc": 0.5},
        base | {"category": "macro", "repeat": 1},
    ]
    runs = [run(setting("m"), 0.9, category=c) for c in categories]
    (claim,) = claims_of(runs, Answer([], [], [], [], [], gains))["tuning"]
    assert claim.settings == ("m, tuned",)
    assert claim.text == (
        "m, tuned: +0.100 validation image AUROC where it was tuned, \N{MINUS SIGN}0.020 on the test part."
    )


def first_claim(comparisons: Sequence[Comparison]) -> str:
    """Of two methods that were compared so; other was chosen."""
    runs = [run(setting("one"), 0.8), run(setting("other", 1), 0.9)]
    return next(c.text for c in find_claims(material(runs), comparisons) if c.kind == "chosen")


def test_a_rival_is_told_apart_by_its_own_comparison() -> None:
    """The macro image AUROC of the chosen setting's regime, whichever stands first; others say nothing of it."""
    one, other, third = setting("one"), setting("other", 1), setting("third", 2)
    made = compared_by_hand(one, other, 0.2, category="macro", p_holm=0.0123)
    decoys = [
        compared_by_hand(one, other, 0.0, equivalence=(-0.001, 0.001), **{"category": "macro"} | changed)
        for changed in ({"category": "brick"}, {"metric": "pixel_aupro"}, {"regime": "threshold_only"})
    ]  # fmt: skip
    decoys.append(compared_by_hand(one, third, 0.0, equivalence=(-0.001, 0.001), category="macro"))
    text = first_claim([*decoys, made])
    assert "one has image AUROC 0.700: a difference beyond the noise (corrected p 0.012)." in text
    assert "one has image AUROC 0.700." in first_claim(decoys)
    swapped = compared_by_hand(other, one, -0.2, category="macro", p_holm=0.0123)
    assert "a difference beyond the noise" in first_claim([swapped])
    open_ = compared_by_hand(one, other, 0.1, category="macro", p_holm=0.2)
    assert first_claim([open_]).endswith(": the test images do not tell the two apart.")
    equal = compared_by_hand(one, other, 0.0, equivalence=(-0.001, 0.001), category="macro", p_holm=0.9)
    assert first_claim([equal]).endswith(": equal within 0.01.")


def test_the_choice_is_counted_in_where_there_was_one() -> None:
    """Two settings of a method: said. One, or equal scores of which the smaller model was chosen: not."""
    counted = "with the choice among settings counted in"
    best, poor = images(SCORES, LABELS), images(SCORES[::-1], LABELS)
    a, b = (setting(name, i, method="m") for i, name in enumerate("ab"))
    runs = [finding(s, best, v, metrics={"val_image_auroc": f, "image_auroc": f}) for s, v, f in
            ((a, poor, 0.1), (b, best, 0.9))]  # fmt: skip
    assert counted in claims_of(runs)["chosen"][0].text
    assert counted not in claims_of(runs[1:])["chosen"][0].text
    equal = [finding(s, best, best, metrics={"val_image_auroc": 0.9, "model_mb": mb}) for s, mb in ((a, 2.0), (b, 1.0))]
    (claim,) = claims_of(equal)["chosen"]
    assert claim.settings == ("b",)
    assert counted not in claim.text


def verdict_of(categories: dict[str, float], **values: Any) -> str:
    """Of one setting with these thresholds."""
    part, one = images(SCORES, LABELS), setting("one")
    runs = [finding(one, part, part, category=c, threshold=t, **values) for c, t in categories.items()]
    return claims_of(runs)["verdict"][0].text


def test_a_verdict_names_thresholds_and_the_weakest_promise() -> None:
    """One for all where they are equal, three by category, and of more that there are; of bounds the largest."""
    assert "at the threshold 4: " in verdict_of({"a": 4, "b": 4})
    assert "at the threshold 4 (a), 4.5 (b), 4.25 (c): " in verdict_of({"a": 4, "b": 4.5, "c": 4.25})
    assert "4 (a), 4.5 (b), 4.25 (c) and so on: " in verdict_of({"a": 4, "b": 4.5, "c": 4.25, "d": 4})
    runs = [run(setting("one"), 0.9, category=c, upper_fpr=u, expected_fpr=e) for c, u, e in
            (("a", 0.2, 0.3), ("b", 0.4, 0.1), ("c", 0.3, 0.5))]  # fmt: skip
    assert (
        "normal validation images a category guarantee at most 40.0% false alarms (95 % certainty)"
        in claims_of(runs)["verdict"][0].text
    )


def test_error_rates_of_one_category_have_exact_intervals() -> None:
    """None of 10 normal images flagged: by Clopper and Pearson up to 1 - .025 ** (1 / 10) = 30.8 %, not none."""
    part = images([1.0] * 10 + [7.0] * 10, [0] * 10 + [1] * 10)
    rates = {"image_fpr": 0.0, "image_fnr": 0.0, "val_image_auroc": 1.0, "image_auroc": 1.0}
    (claim,) = claims_of([finding(setting("one"), part, part, threshold=4.0, metrics=rates)])["verdict"]
    assert "0.0% false alarms (0.0% to 30.8%) and 0.0% misses (0.0% to 30.8%)" in claim.text


def test_an_ablation_is_told_once_a_model() -> None:
    """Separate models, and a unified one with two kinds of threshold: two sentences, the second says which model."""
    runs = []
    for scope, threshold_scope in (("category", "category"), ("unified", "category"), ("unified", "global")):
        for ratio in (0.1, 0.5):
            of = setting(f"{scope} {threshold_scope} {ratio}", method="m", params={"ratio": ratio}, scope=scope,
                         threshold_scope=threshold_scope)  # fmt: skip
            runs.append(run(of, ratio))
    told = [claim.text.split(", image")[0] for claim in claims_of(runs)["ablation"]]
    assert told == ["m", "m, one model for all categories"]


def test_the_best_ranking_is_not_advised_where_its_threshold_does_not_serve() -> None:
    """One ranks validation images best and flags none of them; the threshold of the other, ranked second, serves."""
    part = images(SCORES, LABELS)
    blind, serving = setting("blind", method="m"), setting("serving", method="n")
    second = finding(serving, part, part, threshold=4.5, metrics={"val_image_auroc": 0.8})
    claims = claims_of([finding(blind, part, part, threshold=99.0, metrics={"val_image_auroc": 0.9}), second])
    assert claims["chosen"][0].text.endswith("It ranks best, but its threshold does not serve: use serving.")
    avoided = "blind: do not use it (on validation images it avoids 0% of the errors, less than 50%)"
    assert claims["verdict"][0].text.startswith(avoided)
    assert "does not serve" not in claims_of([second])["chosen"][0].text


@pytest.mark.parametrize(("threshold", "action"), [(4.5, "use it"), (1.5, "do not use it"), (7.5, "do not use it")])
def test_half_of_what_a_perfect_detector_avoids_is_enough(threshold: float, action: str) -> None:
    """Of 1 2 3 5 and 4 6 7 8, at 4.5 a quarter of each is wrong: 1/2 is left; at 1.5 and 7.5 1/4 is."""
    part = images([1, 2, 3, 5, 4, 6, 7, 8], LABELS)
    verdict = judge(material([finding(setting("one"), part, part, threshold=threshold)]), setting("one"))
    assert verdict.clean == action
    assert verdict.shifted is None


def test_a_verdict_without_clean_runs_begins_with_the_shift() -> None:
    """Nothing is said of clean images that were not tested."""
    text = verdict_of({"a": 4}, regime="threshold_only", metrics={"image_fpr": 0.25, "image_fnr": 0.0})
    assert (
        text
        == "one: when light, pose and sensor change: recalibrate it (25.0% false alarms and 0.0% misses recalibrated)."
    )


def test_the_hardest_defect_is_the_one_missed_most() -> None:
    """At 4.5: cracks 4 and 5 of which one is missed, holes 3, 4 and 6 of which two; the threshold itself is found."""
    part = images(
        [1, 2, 4, 5, 3, 4, 6, 4.5], [0, 0, 1, 1, 1, 1, 1, 1], ["good"] * 2 + ["crack"] * 2 + ["hole"] * 3 + ["rim"]
    )
    runs = [finding(setting("one"), part, part, category=c, threshold=t) for c, t in (("a", 4.5), ("b", 1.0))]
    (claim,) = claims_of(runs)["hard"]
    assert claim.text == "one misses most often hole on a: 2 of 3 images."
    (claim,) = claims_of(runs[1:])["hard"]
    assert claim.text == "No defect of the test part is missed at the calibrated threshold."


def test_many_rivals_and_verdicts_are_cut() -> None:
    """Of six methods the chosen one with three rivals, and four verdicts."""
    claims = claims_of([run(setting(f"m{i}", i), 0.5 + i / 100) for i in range(6)])
    assert claims["chosen"][0].settings == ("m5", "m0", "m1", "m2")
    assert [c.settings for c in claims["verdict"]] == [("m5",), ("m0",), ("m1",), ("m2",)]


# The claims that answer each shipped study's own description, by kind with words that they must say:
ANSWERS: dict[str, list[tuple[str, str]]] = {
    # "How small can the memory bank get before localisation suffers?": PRO and size at the ends of the ratios
    "coreset_ablation": [("ablation", "PRO over coreset_ratio")],
    # "Does one reconstructing network for all learn to copy defects too?": what one model for all costs
    "identical_shortcut": [("unified", "in place of one each changes"), ("unified", "uniad")],
    # "Which layers, and how large a neighbourhood, locate defects best?": one claim for each of the two
    "layers_and_patch_size": [("ablation", "PRO over layers"), ("ablation", "PRO over patch_size")],
    # "How well does PatchCore find and localise defects?": the chosen setting's test figures, of images and pixels
    "mvtec_baseline": [("chosen", "reaches image AUROC 0.800 (95 %"), ("chosen", "and PRO 0.700")],
    # "Which method and setting, at what cost, for all products at once, and after a shift?"
    "paper": [
        ("chosen", "padim"),
        ("ablation", "over coreset_ratio"),
        ("ablation", " MB"),
        ("unified", "one model for all"),
        ("verdict", "when light, pose and sensor change: "),
    ],
    # "Which of two methods, and does its threshold survive a change of light and pose?"
    "quickstart": [("chosen", "padim has image AUROC"), ("verdict", "light, pose and sensor change: recalibrate it")],
    # "Where does reweighting help, and on which backbones does it invert rankings?": the effect on every backbone
    "reweighting": [
        ("ablation", "over reweight"),
        ("ablation", "image AUROC over reweight at each backbone: resnet18: "),
    ],
    # "Does a model and its threshold survive, and is recalibration enough?"
    "shift_robustness": [("verdict", "recalibrate it"), ("verdict", "as it is, "), ("verdict", " recalibrated, ")],
    # "Which of two methods is better once both are tuned, and does it hold under a shift?"
    "tune_both": [
        ("tuning", "patchcore, tuned"),
        ("tuning", "padim, tuned"),
        ("chosen", "padim, tuned"),
        ("verdict", "when light, pose and sensor change: "),
    ],
    # "How much better does it get when tuned, and does the gain last on the test part?"
    "tune_patchcore": [("tuning", "where it was tuned, +0.000 on the test part")],
    # "What does one model for all products cost, and does one product's threshold suit another?"
    "unified": [("unified", "in place of one each changes"), ("unified", "at the threshold of")],
}


def values(planned: Run) -> dict[str, Any]:
    """Figures of a run: those that were tuned are validated better, and recalibration serves after a shift."""
    validated = 0.9 if planned.variant.setting.startswith("tuned") else 0.8
    errors = {"clean": (0.0, 0.0), "no_adaptation": (1.0, 0.0)}.get(planned.regime, (0.1, 0.1))
    metrics = {
        "val_image_auroc": validated, "val_pixel_auroc": validated, "image_auroc": 0.8, "image_f1": 0.8,
        "pixel_auroc": 0.8, "pixel_aupro": 0.7, "image_fpr": errors[0], "image_fnr": errors[1], "model_mb": 1.0,
        "fit_s": 1.0, "score_ms_per_image": 1.0,
    }  # fmt: skip
    threshold = 2.5 if planned.regime in ("threshold_only", "full_adaptation") else 0.5
    return {"threshold": threshold, "metrics": metrics}


def shipped(path: Path, root: Path, folder: Path) -> Study:
    """A shipped study on two made-up categories, its searches won by the largest values of their spaces."""
    data = f"dataset={{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}"
    file, spec = load_study(path, [data])
    inventory = _inventory(file, spec, Workspace(folder), {})
    winners = [
        Winner(i, 0, 0, None, "tuned", {"neighbours": 15} if entry.method == "patchcore" else {"n_features": 50})
        for i, entry in enumerate(spec.methods) if entry.tune
    ]  # fmt: skip
    return Study(file, spec, make_plan(spec, inventory, winners), Workspace(folder), {}, inventory)


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_a_shipped_study_answers_its_own_question(path: Path, mvtec_tree: Path, tmp_path: Path) -> None:
    """Of records of all its runs; the shift lifts every score by 2, so only the threshold must move."""
    study = shipped(path, mvtec_tree, tmp_path)
    lifted = lambda planned: 0 if planned.regime in ("clean", "no_adaptation") else 2  # noqa: E731
    write_records(study, values, lambda planned, sample: sample.label + lifted(planned))
    claims = find_claims(gathered(study), ())
    use = claims[0]
    assert use.kind == "use"
    assert use.text.startswith("Use ")
    assert ", at the threshold 0.5. Expect 0.0% false alarms" in use.text
    after = "When light, pose and sensor change, recalibrate it (a new threshold from images after the change)"
    assert (after in use.text) == (len(study.spec.regimes) > 1)
    for kind, words in ANSWERS[path.stem]:
        told = [c.text for c in claims if c.kind == kind]
        assert any(words in text for text in told), (kind, words, told)
