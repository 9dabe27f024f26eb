"""A first study file as text, with what was found and what follows from it in comments."""

from __future__ import annotations

import textwrap
from collections import Counter
from io import StringIO
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from adloc.datasets.natural_order import natural_key
from adloc.init.settings import LARGEST_PROMISED, SMALLEST_PROMISED, input_size
from adloc.uncertainty.order_statistics import least_normals, upper_bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from adloc.datasets.sample import Sample
    from adloc.datasets.split import Split
    from adloc.init.guess import Guess
    from adloc.init.look import Sizes
    from adloc.init.settings import Settings

MOST_CATEGORIES = 20  # with a line of counts each
_MOST_TYPES = 8
_WIDTH = 110


def study_text(
    name: str, guess: Guess, parts: Mapping[str, Split], settings: Settings, sizes: Mapping[str, Sizes]
) -> str:
    """Return the study file."""
    samples = guess.samples
    has_defects = any(sample.label for sample in samples)
    asked = "finds my defects" if has_defects else "leaves my good parts alone"
    survives = ", and does it survive a change of light and pose" if len(settings.regimes) > 1 else ""
    lines = [
        f"# Written by `adloc init` for {guess.what}. Run it: adloc study run THIS_FILE",
        *_comments(counted(parts)),
        *_comments(f"NOT SURE: {note}" for note in guess.notes),
        "#",
        *_comments(answers(samples, settings)),
        *_comments(_to_add(samples, settings)),
        "",
        f"study: {_yaml(name)}",
        f"description: Which of two methods {asked}{survives}?",
        "dataset:",
        *(f"  {key}: {_yaml(value)}" for key, value in guess.dataset.items()),
        "",
        *_split(samples, guess.group),
        "",
        *_image(settings, sizes),
        "",
        *_regimes(settings),
        "",
        *_threshold(settings),
        "",
        "# Both see an image through a backbone that comes with the package: no download, no training.",
        "methods:",
        "  - method: patchcore",
        "    params:",
        "      backbone: efficientnet_lite0             # resnet50 sees more and takes longer",
        "      layers: [layer2, layer3]",
        f"      coreset_ratio: {settings.coreset_ratio:<26g}# share of the good patches that is kept, 20,000 or so",
        "      neighbours: 9",
        "      reweight: none",
        "      smoothing_sigma: 4",
        "  - method: padim",
        "    params: {backbone: efficientnet_lite0, layers: [layer1, layer2, layer3], n_features: 100}",
        "heatmaps: 8",
    ]
    return "\n".join(lines) + "\n"


def counted(parts: Mapping[str, Split]) -> Iterator[str]:
    """Yield a line of counts for each category: "bottle: 229 good images (...); 63 defective: ..."."""
    for category, each in list(parts.items())[:MOST_CATEGORIES]:
        samples = [sample for _, part in each.parts() for sample in part]
        good = [sum(sample.label == 0 for sample in part) for _, part in each.parts()]
        types = Counter(sample.defect for sample in samples if sample.label)
        named = ", ".join(f"{n} {kind}" for kind, n in sorted(types.items(), key=_by_name)[:_MOST_TYPES])
        more = f" and {len(types) - _MOST_TYPES} more types" if len(types) > _MOST_TYPES else ""
        n_masks = sum(bool(sample.label) and sample.mask_known for sample in samples)
        defective = (
            f"; {types.total()} defective ({named}{more}), {n_masks} with a mask" if types else "; no defective ones"
        )
        yield (
            f"{category}: {sum(good)} good images ({good[0]} to fit on, {good[1]} to calibrate on, "
            f"{good[2]} to test on){defective}"
        )
    if len(parts) > MOST_CATEGORIES:
        yield f"and {len(parts) - MOST_CATEGORIES} categories more"


def answers(samples: Sequence[Sample], settings: Settings) -> Iterator[str]:
    """Yield what can be computed of these images, and what cannot."""
    defective = [sample for sample in samples if sample.label]
    masked = [sample for sample in defective if sample.mask_known]
    if not defective:
        yield "It can tell how many good parts each method would reject."
        yield "There are no defective images, so AUROC, F1 and recall stay empty: nothing tells what a method misses."
    else:
        yield "It can tell how well each method finds the defective images (AUROC, F1, recall, false alarms)."
        if not masked:
            yield "There are no masks, so pixel AUROC and PRO stay empty; where it sees defects is drawn all the same."
        elif len(masked) < len(defective):
            yield f"Pixel AUROC and PRO are over the {len(masked)} of {len(defective)} of these that have a mask."
        else:
            yield "And where: every defective image has a mask, so pixel AUROC and PRO are computed."
    yield f"It takes about {_in_words(settings.seconds)} on two cores without a GPU."


def _to_add(samples: Sequence[Sample], settings: Settings) -> Iterator[str]:
    """What more images would tell."""
    defective = [sample for sample in samples if sample.label]
    n = settings.n_calibrating
    if not defective:
        yield "Add defective images (10 help, 50 tell), in a folder bad, and it tells what each method misses."
    elif settings.objective != "f1":
        yield "Add defective images, 2 or more of each type, and the threshold can be the one of largest F1."
    if not all(sample.mask_known for sample in defective):
        yield "Add masks (white on the defect, named as its image), in a folder masks, and pixel metrics are computed."
    if n < least_normals(LARGEST_PROMISED):
        wanted = least_normals(LARGEST_PROMISED)
        yield (
            f"Add good images: {wanted} to calibrate on (now {n}) promise at most {LARGEST_PROMISED:.0%} false alarms,"
            f" {least_normals(SMALLEST_PROMISED)} promise {SMALLEST_PROMISED:.0%}."
        )


def _split(samples: Sequence[Sample], group: str | None) -> Iterator[str]:
    undivided = any(sample.origin == "undivided" and not sample.label for sample in samples)
    yield "# Drawn from the seed, the same for every method: to fit on, to choose on, and for the final figures."
    keys = [*(("test_fraction: 0.2",) if undivided else ()), "train_fraction: 0.8"]
    keys += ["validation_defects: 0.3"] if any(sample.label for sample in samples) else []
    if group is not None:
        keys.append(f"group: {_yaml(group)}")
    yield f"split: {{{', '.join([*keys, 'seed: 42'])}}}"
    if group is None:
        yield '# Several images of one part? Keep them on one side: add group: "^([^_]+)_", a pattern of their names.'


def _image(settings: Settings, sizes: Mapping[str, Sizes]) -> Iterator[str]:
    shapes: dict[str, str] = {}  # a category of each shape
    for category, each in sizes.items():
        about = "about " if each.vary else ""
        shapes.setdefault(f"{about}{each.width} x {each.height}", category)
    if len(shapes) == 1:
        yield f"# The images are {next(iter(shapes))} pixels (width x height)."
    elif shapes:
        named = ", ".join(f"{category} {shape}" for shape, category in list(shapes.items())[:_MOST_TYPES])
        yield from _comments([f"Pixels (width x height) by category: {named}."])
    if not isinstance(settings.size, int):
        yield "# They are longer than 4:3, so their proportions are kept, up to 3:1: [height, width]."
    elif len({input_size(each) for each in sizes.values()}) > 1:
        yield "# Their proportions differ, so all are seen as squares; a study of each can keep them: [height, width]."
    else:
        yield "# They are nearly square (up to 4:3), and are seen so."
    yield "# Small defects need a larger size: twice the size sees a quarter of the area, and takes four times as long."
    yield f"image: {{size: {_yaml(settings.size if isinstance(settings.size, int) else list(settings.size))}}}"


def _regimes(settings: Settings) -> Iterator[str]:
    if len(settings.regimes) > 1:
        yield "# clean: as photographed. The others simulate another light and pose: is the model used as it is, with a"
        yield "# new threshold, or fitted again? For an answer in half the time: [clean]."
    else:
        yield "# Also no_adaptation, threshold_only, full_adaptation: a simulated change of light and pose. They take"
        yield "# twice the time."
    yield f"regimes: {_yaml(list(settings.regimes))}"
    if len(settings.regimes) > 1:
        yield "shift: {preset: mvtec_shift, severity: 1.0, seed: 42}"


def _threshold(settings: Settings) -> Iterator[str]:
    n = settings.n_calibrating
    if settings.fpr is None:
        yield "# The threshold with the largest F1 on the validation part, which has good and defective images."
        yield "# For a promise about false alarms: {objective: normal_quantile, fpr: 0.05}."
        yield "thresholds: {objective: f1}"
        return
    yield "# From good images alone, for the validation part has no defective ones."
    if settings.objective == "guaranteed_fpr":
        yield f"# With {n} of them it can be promised, at 95 %, that at most this share of good parts is flagged."
    else:
        yield f"# {n} good images to calibrate on promise about this share of false alarms, and at 95 % at most"
        yield f"# {upper_bound(n, 0):.0%} of good parts."
    yield f"thresholds: {{objective: {settings.objective}, fpr: {settings.fpr:g}}}"


def _comments(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from textwrap.wrap(
            sentence,
            _WIDTH,
            initial_indent="# ",
            subsequent_indent="#   ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def _yaml(value: object) -> str:
    """A value in one line of YAML, quoted so that it may stand inside brackets."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = True, 1_000_000, True
    text = StringIO()
    yaml.dump([value], text)
    return text.getvalue().strip()[1:-1]


def _by_name(item: tuple[str, int]) -> tuple[object, ...]:
    return (natural_key(item[0]),)


def _in_words(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes >= 90:  # noqa: PLR2004
        return f"{round(minutes / 60)} hours"
    return f"{minutes} minutes" if minutes > 1 else "a minute"
