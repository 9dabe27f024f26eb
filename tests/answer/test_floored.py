"""Who does not beat the mean image: told from the validation part alone, against hand-made records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adloc.answer.claims import find_claims
from adloc.answer.floor import find_floored
from handmade import finding, images, material, setting

if TYPE_CHECKING:
    from adloc.answer.material import Material

TEST = images([1, 2, 1, 2], [0, 1, 0, 1])


def found(**validated: float | None) -> Material:
    """A run of each setting, "floor_2" being of the method floor; test figures are the other way round."""
    runs = []
    for index, (name, figure) in enumerate(validated.items()):
        of = setting(name, index, method=name.partition("_")[0])
        tested = None if figure is None else 1 - figure
        runs.append(finding(of, TEST, TEST, metrics={"val_image_auroc": figure, "image_auroc": tested}))
    return material(runs)


def test_a_method_that_does_not_beat_the_floor_is_named() -> None:
    """One sentence names who ranks validation images no better than the mean image, with both figures."""
    (claim,) = find_floored(found(patchcore=0.95, knn=0.7, floor=0.74))
    assert claim.kind == "warning"
    assert claim.settings == ("knn", "floor")
    assert claim.text == (
        "knn (0.700) ranks the validation images no better than the distance to a mean image does (floor, image AUROC"
        " 0.740): nothing shows that what it adds is of use here."
    )


def test_equal_to_the_floor_is_not_above_it() -> None:
    """Several are named together, the equal one too; the best of the floor's settings is the measure."""
    (claim,) = find_floored(found(dfm=0.8, knn=0.6, floor_1=0.5, floor_2=0.8, patchcore=0.9))
    assert claim.settings == ("dfm", "knn", "floor_2")
    assert claim.text.startswith("dfm (0.800) and knn (0.600) rank the validation images no better")
    assert "(floor_2, image AUROC 0.800)" in claim.text


def test_many_settings_are_counted() -> None:
    """Beyond four, how many more there are."""
    (claim,) = find_floored(found(floor=0.9, **{f"knn_{n}": 0.5 for n in range(6)}))
    assert "knn_3 (0.500) and 2 more rank" in claim.text
    assert len(claim.settings) == 7


@pytest.mark.parametrize(
    "validated",
    [
        {"patchcore": 0.9, "knn": 0.8, "floor": 0.7},
        {"patchcore": 0.6, "knn": 0.5},
        {"patchcore": None, "floor": None},
        {"patchcore": None, "floor": 0.7},
    ],
    ids=["all above", "no floor", "nothing validated", "not validated"],
)
def test_nothing_is_said_without_a_reason(validated: dict[str, float | None]) -> None:
    """All above the floor, no floor, or no validation figure: no claim, whatever the test part says."""
    assert list(find_floored(found(**validated))) == []


def test_the_answer_tells_it_after_the_choice() -> None:
    """The sentence stands right behind what was chosen."""
    claims = find_claims(found(patchcore=0.95, knn=0.7, floor=0.74), ())
    kinds = [claim.kind for claim in claims]
    told = claims[kinds.index("chosen") + 1]
    assert (told.kind, told.settings) == ("warning", ("knn", "floor"))
