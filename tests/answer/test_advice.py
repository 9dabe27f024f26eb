"""The one line on what to use: which setting and threshold, what to expect of it, and what to do after a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adloc.answer.advice import advise, use_claim
from adloc.answer.claims import find_claims, find_verdicts
from adloc.answer.verdict_words import shift_words, verdict_claim
from adloc.report.sections.answer import answer
from adloc.study_file.axes import StudyShift
from handmade import finding, images, material, setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material

# normal images score 1 to 4, defects 5 to 8: a threshold of 4.5 parts them, 3 avoids half of the errors, 9 none
LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
PART = images([1, 2, 3, 4, 5, 6, 7, 8], LABELS)
LIFTED = images([11, 12, 13, 14, 15, 16, 17, 18], LABELS)
MIXED = images([1, 6, 3, 8, 5, 2, 7, 4], LABELS)
AFTER = "When light, pose and sensor change, "
UNTESTED = " What a change of light, pose or sensor does was not tested."


def run(of: Setting, validated: float = 0.8, threshold: float | None = 4.5, **values: Any) -> Finding:
    """A run whose test part says nothing of what is chosen: its rates are made up."""
    metrics = {"val_image_auroc": validated, "image_fpr": 0.125, "image_fnr": 0.25} | values.pop("metrics", {})
    part = values.pop("validation", PART)
    return finding(of, PART, part, threshold=threshold, metrics=metrics, **values)


def shifted(of: Setting, *, recalibrated: float = 14.5, refitted: Sequence[float] = ()) -> list[Finding]:
    """A setting whose threshold serves clean images and no shifted ones, unless a new one is found for them."""
    runs = [
        run(of), run(of, regime="no_adaptation"),
        run(of, threshold=recalibrated, regime="threshold_only", validation=LIFTED, metrics={"image_fpr": 0.5}),
    ]  # fmt: skip
    return [*runs, *(run(of, threshold=t, regime="full_adaptation", metrics={"image_fpr": 0.0}) for t in refitted)]


def told(found: Material) -> str:
    """The line."""
    claim = use_claim(found, find_verdicts(found))
    assert claim is not None
    return claim.text


def test_the_better_validated_of_two_that_serve_is_advised() -> None:
    """Other with .9 against .8, at its own threshold; intervals of the test images where nothing is guaranteed."""
    found = material([run(setting("one")), run(setting("other", 1), 0.9, threshold=4.25)])
    first = find_claims(found, ())[0]
    assert (first.kind, first.settings) == ("use", ("other",))
    assert first.text == (
        "Use other, at the threshold 4.25. Expect 12.5% false alarms (0.0% to 60.2%) and 25.0% misses (0.0% to 60.2%) "
        "(seen on clean test images; 95 % intervals)." + UNTESTED
    )  # of 4 images none is flagged and none missed: 1 - .025 ** (1 / 4)


def test_the_best_that_serves_is_advised_where_the_chosen_one_does_not() -> None:
    """Blind is validated best and flags nothing; of the two that serve the better validated stands first, not one."""
    blind, one, other = setting("blind"), setting("one", 1), setting("other", 2)
    found = material([run(blind, 0.95, threshold=9), run(one, 0.7), run(other, 0.8)])
    assert advise(found, find_verdicts(found)).setting is other
    use, chosen = find_claims(found, ())[:2]
    assert use.settings == ("other",)
    assert chosen.text.endswith("It ranks best, but its threshold does not serve: use other.")


def test_that_nothing_serves_is_said() -> None:
    """A threshold of 2.5 flags 3 and 4 of the normals: half is avoided, just enough; at 1.5 it is a quarter."""
    one, other = setting("one"), setting("other", 1)
    found = material([run(one, threshold=9), run(other, threshold=1.5)])
    assert advise(found, find_verdicts(found)).setting is None
    assert told(found) == (
        "Use none of these settings: on validation images a threshold avoids at most 25% of the errors (other), less "
        "than 50%." + UNTESTED
    )
    alone = told(material([run(one, threshold=1.5)]))
    assert alone.startswith("Use none of these settings: on validation images a threshold avoids 25% of the errors")
    worse = told(material([run(one, threshold=4.5, validation=images([5, 6, 7, 8, 1, 2, 3, 4], LABELS))]))
    assert "avoids 0% of the errors (one)" in worse  # all of them are made, and none is avoided
    wrong = material([run(one, threshold=4.5, validation=images([5, 6, 7, 8, 1, 2, 3, 4], LABELS))])
    verdict = verdict_claim(wrong, find_verdicts(wrong)[0]).text
    assert "(on validation images it avoids 0% of the errors, less than 50%), at its threshold 4.5: " in verdict
    assert verdict.endswith(" misses (0.0% to 60.2%) on clean test images.")
    assert told(material([run(one, threshold=2.5)])).startswith("Use one, at the threshold 2.5. ")


def test_what_was_not_judged_is_not_advised() -> None:
    """Without a threshold, without defects and without normals in the validation part; each says which."""
    one = setting("one")
    unknown = "Which setting to use is not known: "
    assert told(material([run(one, threshold=None)])) == (
        unknown + "no threshold was calibrated, for lack of a validation part." + UNTESTED
    )
    good = [run(one, validation=images([1, 2], [0, 0]), category=c) for c in "ab"]
    assert told(material([*good, run(one, category="c")])) == (
        unknown
        + "there are no anomalous validation images of a, b, so what a threshold misses was not judged."
        + UNTESTED
    )
    bad = run(one, validation=images([1, 2], [1, 1]))
    assert told(material([bad])) == unknown + "validation images of one class are missing." + UNTESTED


def test_after_a_change_the_least_work_is_said_with_its_errors() -> None:
    """A new threshold serves; where the old one does it stays; where only a new model does it is fitted."""
    one = setting("one")
    assert told(material(shifted(one))).endswith(
        AFTER + "recalibrate it (a new threshold from images after the change) and expect 50.0% false alarms and 25.0% "
        "misses."
    )
    assert told(material(shifted(one, recalibrated=99, refitted=[4.5]))).endswith(
        AFTER + "refit it (a new model and threshold from images after the change) and expect 0.0% false alarms and "
        "25.0% misses."
    )
    stays = [run(one), run(one, regime="no_adaptation"), run(one, regime="threshold_only")]
    assert told(material(stays)).endswith(AFTER + "use it as it is and expect 12.5% false alarms and 25.0% misses.")
    assert "not tested" not in told(material(stays))


def test_another_setting_takes_its_place_where_it_serves_no_longer() -> None:
    """One is validated better and lost after the change; of two others that serve there the better validated."""
    one, other, third = setting("one"), setting("other", 1), setting("third", 2)
    runs = [*shifted(one, recalibrated=99), *shifted(other), *shifted(third)]
    for of, figure in ((one, 0.9), (other, 0.7), (third, 0.8)):
        for each in runs:
            if each.setting is of:
                each.record.metrics["val_image_auroc"] = figure
    found = material(runs)
    claim = use_claim(found, find_verdicts(found))
    assert claim is not None
    assert claim.settings == ("one", "third")
    assert claim.text.startswith("Use one, at the threshold 4.5. ")
    assert claim.text.endswith(
        AFTER + "recalibrate third (a new threshold from images after the change) in its place and expect 50.0% false "
        "alarms and 25.0% misses."
    )
    assert told(material(shifted(one, recalibrated=99))).endswith(AFTER + "nothing serves.")
    lost = [run(one), run(one, regime="no_adaptation")]  # no shifted validation image judges it
    assert told(material(lost)).endswith(AFTER + "nothing was judged.")


def test_a_setting_that_serves_after_the_change_alone_is_named_there() -> None:
    """On clean images nothing serves; what to do after the change is said all the same, in the place of nothing."""
    runs = [each for each in shifted(setting("one")) if each.record.regime != "clean"]
    text = told(material([run(setting("one"), threshold=9), *runs]))
    assert text.startswith("Use none of these settings: on validation images a threshold avoids 0% of the errors (one)")
    assert " recalibrate one (a new threshold from images after the change) and expect " in text


def test_a_study_without_clean_runs_advises_what_its_verdict_asks_for() -> None:
    """A model that was recalibrated is used so, on those images; nothing is said twice."""
    runs = [each for each in shifted(setting("one")) if each.record.regime == "threshold_only"]
    assert told(material(runs)) == (
        "Use one, recalibrated, when light, pose and sensor change, at the threshold 14.5. Expect 50.0% false alarms "
        "(0.0% to 60.2%) and 25.0% misses (39.8% to 100.0%) (seen on test images; 95 % intervals)."
    )  # test defects of 5 to 8 are all missed: .025 ** (1 / 4)


def test_what_is_guaranteed_is_the_worst_categorys() -> None:
    """Bounds of .2, .4 and .3 from 4 normal images a category; one threshold for all rests on all 12 of them."""
    of = {"a": 0.2, "b": 0.4, "c": 0.3}
    own = [run(setting("one"), category=c, metrics={"upper_fpr": u}) for c, u in of.items()]
    assert told(material(own)) == (
        "Use one, at the threshold 4.5. Expect 12.5% false alarms and 25.0% misses (seen on clean test images, mean of "
        "3 categories); with 95 % certainty at most 40.0% false alarms in any one category (4 normal validation images "
        "a category)." + UNTESTED
    )
    shared = setting("all", scope="unified", threshold_scope="global")
    text = told(material([run(shared, category=c, metrics={"upper_fpr": 0.4}) for c in of]))
    assert "; with 95 % certainty at most 40.0% false alarms (12 normal validation images). " in text
    alone = told(material(own[:1]))
    assert "(seen on clean test images); with 95 % certainty at most 20.0% false alarms (4 normal " in alone


def test_what_is_not_whole_is_provisional() -> None:
    """Of three runs two are done; the threshold is the first repeat's; before a row is whole nothing is said."""
    found = material([run(setting("one")), run(setting("other", 1))])
    assert "Provisional" not in told(found)
    found.plan.runs.append(found.plan.runs[0])  # type: ignore[attr-defined]
    assert told(found).endswith(" Provisional: 2 of 3 runs are done.")
    repeated = material([run(setting("one"), repeat=i, threshold=4.5 - i) for i in range(2)], repeats=2)
    assert told(repeated).startswith("Use one, at the threshold 4.5 (first of 2 repeats). ")
    partial = material([run(setting("one"), category=c) for c in "ab"])
    partial.plan.parts["c"] = None  # type: ignore[index]
    assert use_claim(partial, find_verdicts(partial)) is None
    assert find_claims(partial, ())[0].kind == "chosen"


def test_the_line_stands_above_the_others_on_the_page() -> None:
    """And is not told again below; dashes are explained where there are some, by what is missing."""
    found = material(shifted(setting("one")))
    section = answer(found, find_claims(found, ()), find_verdicts(found))
    assert section is not None
    assert section.lead == told(found)
    assert section.lead not in section.text
    assert [text.split(" ")[0] for text in section.text[:2]] == ["one", "one:"]
    (dashes,) = [note for note in section.notes if note.startswith("\N{EN DASH} stands for nothing: ")]
    assert "under verdict it marks a state that the verdict does not ask for" in dashes
    assert "under a figure, that it is not defined or was not computed" in dashes  # PRO was not computed
    assert "under threshold" not in dashes


def test_a_table_without_dashes_explains_none() -> None:
    """Where every figure is known and the only state is the one that the verdict names; without a threshold that is."""
    whole = {"image_auroc": 0.9, "image_f1": 0.9, "pixel_aupro": 0.9}
    found = material([run(setting("one"), metrics=whole)])
    section = answer(found, (), find_verdicts(found))
    assert section is not None
    assert not any("stands for nothing" in note for note in section.notes)
    assert section.lead == ""
    bare = material([run(setting("one"), threshold=None, metrics=whole)])
    section = answer(bare, (), find_verdicts(bare))
    assert section is not None
    assert section.notes[-1] == "\N{EN DASH} stands for nothing: under threshold, that none was calibrated."


def test_each_transform_belongs_to_light_pose_or_sensor() -> None:
    """Alone it is said to change that, and nothing else."""
    of = {
        "light": ("brightness", "contrast", "saturation", "illumination"), "pose": ("rotation_deg", "scale",
        "translation"), "sensor": ("blur", "noise"),
    }  # fmt: skip
    names = [name for group in of.values() for name in group]
    for word, group in of.items():
        for name in group:
            off = dict.fromkeys(n for n in names if n != name)
            assert shift_words(StudyShift.model_validate(off)) == word, name
