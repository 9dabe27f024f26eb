"""A memory bank behind an index: the asked recall, exact distances, the same bits anywhere, and keys left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from adloc.errors import StageMismatchError
from adloc.methods.detector import Result, StepContext
from adloc.methods.errors import MethodError
from adloc.methods.patchcore.approximate.bank import Effort, IndexedBank
from adloc.methods.patchcore.approximate.config import SearchConfig
from adloc.methods.patchcore.approximate.index import Index, build_index
from adloc.methods.patchcore.approximate.recall import choose_effort, compare
from adloc.methods.patchcore.detector import PatchCore
from adloc.methods.patchcore.params import PATCHCORE, PatchCoreParams
from adloc.methods.patchcore.search import MemoryBank, SegmentedBank, search_exactly
from adloc.methods.softpatch.params import SoftPatchParams
from adloc.planning.parts import TestPart, TrainPart, ValidationPart
from detectors import CPU, HeldFeatures
from plans import plan_of_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Points = NDArray[np.float32]
    Make = Callable[[int, int], Points]

Kind = Literal["ivf", "ivfpq", "hnsw"]
KINDS: tuple[Kind, ...] = ("ivf", "ivfpq", "hnsw")


def draw(n: int, seed: int) -> Points:
    """Points of 32 values that lie near 6 dimensions, as patches do."""
    plane = np.random.default_rng(0).standard_normal((6, 32))
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, 6)) @ plane + 0.1 * rng.standard_normal((n, 32))).astype(np.float32)


BANK, QUERIES = draw(3000, seed=1), draw(400, seed=2)


def brute_force(queries: Points, bank: NDArray[np.floating], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Squared distances and places of the k nearest, in float64."""
    squared = ((queries[:, None].astype(np.float64) - bank[None].astype(np.float64)) ** 2).sum(axis=2)
    places = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(squared, places, 1), places


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest) -> Index:
    """Each index of the bank."""
    return Index(request.param, build_index(request.param, BANK, seed=3), BANK)


def test_the_asked_recall_is_reached_on_the_sample(index: Index) -> None:
    """At .9 and at .99 the share that is found, counted against brute force, is at least that, and as recorded."""
    _, places = brute_force(QUERIES, BANK, 5)
    for recall in (0.9, 0.99):
        search = SearchConfig(index=index.kind, recall=recall)
        chosen = choose_effort(index, BANK, QUERIES, 5, search, "euclidean", CPU)
        found = IndexedBank(BANK, "euclidean", index, chosen.effort).find(QUERIES[None], 5).indices
        first = np.mean(found[:, 0] == places[:, 0])
        every = np.mean([len(set(f) & set(p)) / 5 for f, p in zip(found.tolist(), places.tolist(), strict=True)])
        assert min(first, every) >= recall
        assert (chosen.recall.first, chosen.recall.every) == (pytest.approx(first), pytest.approx(every))


@pytest.mark.parametrize("kind", ["ivf", "ivfpq"])
def test_a_larger_recall_takes_a_larger_effort(kind: Kind) -> None:
    """What is asked for is what it costs: the effort at .99 is above that at .6."""
    index = Index(kind, build_index(kind, BANK, seed=3), BANK)
    low, high = (
        choose_effort(index, BANK, QUERIES, 5, SearchConfig(index=index.kind, recall=r), "euclidean", CPU).effort
        for r in (0.6, 0.99)
    )
    assert low.looked * low.spare < high.looked * high.spare


def test_distances_are_exact_whatever_is_found(index: Index) -> None:
    """Of the least effort too: each distance is that of the entry that it names, ascending; no entry comes twice."""
    found = IndexedBank(BANK, "euclidean", index, Effort(1, 1)).find(QUERIES[None], 7)
    expected = ((QUERIES[:, None].astype(np.float64) - BANK[found.indices]) ** 2).sum(axis=2)
    np.testing.assert_allclose(found.squared, expected, rtol=1e-5)
    assert (np.diff(found.squared, axis=1) >= 0).all()
    assert all(len(set(row)) == 7 for row in found.indices.tolist())


def test_every_cell_looked_into_finds_all() -> None:
    """An inverted file has no other misses than the cells that it leaves out."""
    index = Index("ivf", build_index("ivf", BANK, seed=3), BANK)
    found = IndexedBank(BANK, "euclidean", index, Effort(index.most, 2)).find(QUERIES[None], 5)
    np.testing.assert_array_equal(found.indices, brute_force(QUERIES, BANK, 5)[1])


def clustered(n: int, seed: int) -> Points:
    """Points of 16 values in 20 clusters that lie far apart."""
    centres = 10 * np.random.default_rng(0).standard_normal((20, 16))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(20, size=n)] + rng.standard_normal((n, 16))).astype(np.float32)


def all_found(bank: NDArray[np.floating]) -> Index:
    """The inverted file of recall 1."""
    return Index("ivf", build_index("ivf", bank, seed=3, bounded=True), bank)


def twins(n: int, seed: int) -> Points:
    """Every point twice, some of them at 0: distances that are equal, and cells of no extent."""
    half = draw((n + 1) // 2, seed)
    half[: n // 20] = 0
    return np.repeat(half, 2, axis=0)[:n]


@pytest.mark.parametrize("make", [draw, clustered, twins])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_recall_1_leaves_out_no_neighbour(make: Make, dtype: type[np.floating], shift: float) -> None:
    """Against brute force in float64, far from the origin too, where float32 rounds most; distances to its rounding."""
    bank, queries = (make(2000, 1) + np.float32(shift)).astype(dtype), make(200, 2) + np.float32(shift)
    for k in (1, 9):
        squared, places = brute_force(queries, bank, k)
        found = IndexedBank(bank, "euclidean", all_found(bank), Effort(1, 2)).find(queries[None], k)
        np.testing.assert_allclose(found.squared, squared, rtol=1e-5, atol=1e-6)
        if make is not twins:
            np.testing.assert_array_equal(found.indices, places)


def test_recall_1_looks_into_few_cells_of_clusters_and_many_of_a_cloud() -> None:
    """What the triangle inequality rules out: most of what lies in clusters, little of what does not."""
    shares = {}
    for make in (clustered, draw):
        index = all_found(make(3000, 1))
        shares[make] = index.n_cells_within(make(400, 2), 9) / index.most
        chosen = choose_effort(
            index, make(3000, 1), make(400, 2), 5, SearchConfig(index="ivf", recall=1), "euclidean", CPU
        )
        assert (chosen.recall.first, chosen.recall.every) == (1, 1)
        assert chosen.effort.looked == index.n_cells_within(make(400, 2), 10)
    assert shares[clustered] < 0.2 < shares[draw] <= 1


def test_recall_1_has_the_same_bits_for_an_image_alone() -> None:
    """What others look for rules out no cell of this one's."""
    bank = IndexedBank(BANK, "euclidean", all_found(BANK), Effort(1, 2))
    found, alone = bank.find(QUERIES.reshape(4, 100, 32), 5), bank.find(QUERIES.reshape(4, 100, 32)[2:3], 5)
    assert alone.squared.tobytes() == found.squared[200:300].tobytes()
    assert alone.indices.tobytes() == found.indices[200:300].tobytes()


def test_an_image_has_the_same_bits_alone_and_with_any_number_of_threads(index: Index) -> None:
    """Among others or not, with one, two or five threads asked of torch."""
    bank, images = IndexedBank(BANK, "euclidean", index, Effort(8, 2)), QUERIES.reshape(4, 100, 32)
    before = torch.get_num_threads()
    try:
        found = []
        for n_threads in (1, 2, 5):
            torch.set_num_threads(n_threads)
            found.append(bank.find(images, 5))
    finally:
        torch.set_num_threads(before)
    for each in found[1:]:
        assert each.squared.tobytes() == found[0].squared.tobytes()
        assert each.indices.tobytes() == found[0].indices.tobytes()
    assert bank.find(images[2:3], 5).squared.tobytes() == found[0].squared[200:300].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_made_again_to_the_same_bytes(kind: Kind) -> None:
    """After other searches, which set what is global to FAISS, and from a read-only copy."""
    first = build_index(kind, BANK, seed=3)
    MemoryBank(BANK, "euclidean", CPU).find(QUERIES[None], 3)
    copy = BANK.copy()
    copy.flags.writeable = False
    again = build_index(kind, copy, seed=3)
    assert {name: each.tobytes() for name, each in first.items()} == {n: each.tobytes() for n, each in again.items()}


def test_fewer_entries_than_neighbours_are_all_found() -> None:
    """A bank of six entries, asked for nine."""
    built = [(kind, build_index(kind, BANK[:6], seed=0)) for kind in KINDS]
    for kind, arrays in [*built, ("ivf", build_index("ivf", BANK[:6], seed=0, bounded=True))]:
        few = Index(kind, arrays, BANK[:6])
        found = IndexedBank(BANK[:6], "euclidean", few, Effort(1, 2)).find(QUERIES[None, :5], 9)
        np.testing.assert_array_equal(found.indices, brute_force(QUERIES[:5], BANK[:6], 9)[1])


def test_recall_counts_entries_at_equal_distances() -> None:
    """Two of three found, and the nearest for one of the two queries; a twin of the nearest is as good."""
    true = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], np.float32)
    found = np.array([[1.0, 3.0, 4.0], [2.0, 3.0, 9.0]], np.float32)
    recall = compare(found, true)
    assert (recall.first, recall.every) == (0.5, pytest.approx(4 / 6))


def test_a_recall_that_cannot_be_reached_is_refused() -> None:
    """Codes of 4 values of noise in 3,000 entries leave too little to tell thirty neighbours apart."""
    rng = np.random.default_rng(5)
    bank, queries = (rng.random((n, 256), dtype=np.float32) for n in (3000, 300))
    index = Index("ivfpq", build_index("ivfpq", bank, seed=0), bank)
    search = SearchConfig(index="ivfpq", recall=0.999)
    with pytest.raises(MethodError, match="finds at most 0") as raised:
        choose_effort(index, bank, queries, 1, search, "euclidean", CPU)
    assert "ivf" in raised.value.remedy


def test_entries_are_no_sample() -> None:
    """A train part whose patches are all in the bank measures nothing."""
    index = Index("ivf", build_index("ivf", BANK, seed=0), BANK)
    with pytest.raises(MethodError, match="every patch of the sample is an entry"):
        choose_effort(index, BANK, BANK[:50], 3, SearchConfig(index="ivf"), "euclidean", CPU)


# A bank in halves, and one in segments.


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_segments_find_what_a_whole_index_finds(dtype: type[np.floating], monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, whatever the bank's dtype: of the same entries in float32."""
    monkeypatch.setattr("adloc.methods.patchcore.search._SEGMENT", 768)
    bank = BANK.astype(dtype)
    found = SegmentedBank(bank, "euclidean", CPU).find(QUERIES[None], 9)
    whole = MemoryBank(bank.astype(np.float32), "euclidean", CPU).find(QUERIES[None], 9)
    assert found.squared.tobytes() == whole.squared.tobytes()
    assert found.indices.tobytes() == whole.indices.tobytes()


def test_large_banks_and_halves_are_searched_in_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small one in float32 is indexed as a whole."""
    assert isinstance(search_exactly(BANK, "euclidean", CPU), MemoryBank)
    assert isinstance(search_exactly(BANK.astype(np.float16), "euclidean", CPU), SegmentedBank)
    monkeypatch.setattr("adloc.methods.patchcore.search._WHOLE_BYTES", BANK.nbytes - 1)
    assert isinstance(search_exactly(BANK, "euclidean", CPU), SegmentedBank)


# The steps.


def features(n_images: int, seed: int) -> HeldFeatures:
    """Two layers of positive noise, on maps of 12 x 10 and 6 x 5."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"layer2": (24, 12, 10), "layer3": (40, 6, 5)}
    return HeldFeatures({layer: torch.rand(n_images, *shape, generator=generator) for layer, shape in shapes.items()})


TRAIN, VALIDATION, TEST = features(20, seed=1), features(6, seed=2), features(5, seed=3)


def take(given: Mapping[str, object]) -> tuple[PatchCoreParams, dict[str, Result]]:
    """Every step of PatchCore with these parameters."""
    params = PatchCoreParams.model_validate({"coreset_ratio": 0.5, "neighbours": 4, **given})
    results: dict[str, Result] = {}
    of = {"fit": TRAIN, "calibrate": VALIDATION, "score": TEST}
    for step in (each for each in PATCHCORE.steps if each.is_taken(params)):
        context = StepContext(params, of[step.part], dict(results), 0, CPU)
        results[step.name] = getattr(PatchCore(), step.name)(context)
    return params, results


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reweight", ["every_patch", "max_patch"])
def test_scores_of_an_index_are_those_of_the_exact_search_but_for_its_misses(kind: Kind, reweight: str) -> None:
    """At a recall of .99 most patches have the distances of the exact search, and no first one is smaller."""
    _, exact = take({"reweight": reweight})
    params, found = take({"reweight": reweight, "search": {"index": kind, "recall": 0.99}})
    one, other = (np.asarray(each["search"].arrays["distances"][..., 0]) for each in (exact, found))
    assert np.isclose(one, other, rtol=1e-3).mean() > 0.9
    assert (other >= one * (1 - 1e-3)).all()
    facts = PatchCore().fit_facts(found, params)
    assert min(facts["index_recall"], facts["index_recall_k"]) >= 0.99
    assert facts["index_mb"] > 0
    scores = [np.asarray(each["scores"].arrays["image_scores"]) for each in (exact, found)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=0.05)


@pytest.mark.parametrize(
    "given", [{"search": {"index": "hnsw"}}, {"search": {"index": "ivfpq"}, "bank_dtype": "float16"}]
)
def test_an_exported_fit_scores_to_the_same_bits(given: dict[str, object]) -> None:
    """With the arrays that leave a study alone, copied, and an image at a time."""
    params, results = take(given)
    exported = PatchCore().exported(results, params)
    fit = {n: replace(r, arrays={a: np.array(v) for a, v in r.arrays.items()}) for n, r in exported.items()}
    assert set(fit) == {"coreset", "index"}
    kept: dict[str, object] = {}
    for image in range(TEST.n_images):
        one = HeldFeatures({layer: maps[image : image + 1] for layer, maps in TEST.maps.items()})
        found: dict[str, Result] = dict(fit)
        for step in ("search", "scores"):
            context = StepContext(params, one, dict(found), 0, CPU, kept=kept)
            found[step] = getattr(PatchCore(), step)(context)
        for name, array in found["scores"].arrays.items():
            assert array.tobytes() == results["scores"].arrays[name][image : image + 1].tobytes()


def test_a_bank_in_halves_is_half_as_large_and_scores_alike() -> None:
    """Within the rounding of float16."""
    _, whole = take({"reweight": "none"})
    params, half = take({"reweight": "none", "bank_dtype": "float16"})
    assert half["coreset"].arrays["bank"].dtype == np.float16
    assert 2 * PatchCore().model_bytes(half, params) == whole["coreset"].arrays["bank"].nbytes
    one, other = (each["scores"].arrays["patch_maps"] for each in (whole, half))
    np.testing.assert_allclose(other, one, rtol=5e-3)


# Keys and the plan.


def test_defaults_are_not_written() -> None:
    """Keys, run ids and searches of earlier versions stay: the parameters are there at other values alone."""
    for kind in (PatchCoreParams, SoftPatchParams):
        assert not {"search", "bank_dtype"} & kind().model_dump(mode="json").keys()
        given = kind.model_validate({"search": {"index": "flat"}, "bank_dtype": "float32"})
        assert given.model_dump() == kind().model_dump()
    written = PatchCoreParams.model_validate({"search": {"index": "ivf"}}).model_dump(mode="json")
    assert written["search"] == {"index": "ivf", "recall": 0.99}
    assert PatchCoreParams.model_validate(written).search == SearchConfig(index="ivf")


def test_the_index_reads_the_validation_part_and_never_the_test_part() -> None:
    """Its stage stands between fit and search; a flat search has none and the keys that it has alone."""
    plan = plan_of_grid({"search": [{"index": "flat"}, {"index": "ivf"}]})
    made = [stage for stage in plan.stages.values() if stage.kind == "patchcore.index"]
    assert [type(stage.source.part) for stage in made] == [ValidationPart]
    assert set(plan_of_grid({}).stages) <= set(plan.stages)
    searched = [stage for stage in plan.stages.values() if stage.kind == "patchcore.search"]
    assert sorted(len(stage.before) for stage in searched) == [1, 1, 2, 2]


def test_a_part_that_no_step_may_see_is_refused() -> None:
    """A test part given to a step that calibrates is a bug, and nothing goes on."""
    from adloc.planning.sight import require_of_step

    (made,) = (s for s in plan_of_grid({"search": [{"index": "ivf"}]}).stages.values() if s.kind == "patchcore.index")
    for kind, refused in ((TrainPart, False), (ValidationPart, False), (TestPart, True)):
        part = kind("a", "clean", (), (), None)
        stage = replace(made, source=replace(made.source, part=part))
        if refused:
            with pytest.raises(StageMismatchError):
                require_of_step(stage)
        else:
            require_of_step(stage)


@pytest.mark.parametrize(
    "search",
    [
        {"index": "lsh"},
        {"index": "hnsw", "recall": 1.0},
        {"index": "ivfpq", "recall": 1},
        {"index": "ivf", "recall": 0.9995},
        {"index": "ivf", "recall": 1.5},
        {"index": "ivf", "recall": 0.2},
        {"index": "flat", "recall": 0.9},
        "ivf",
    ],
)
def test_a_wrong_search_is_refused_with_its_rule(search: object) -> None:
    """Unknown indexes, recalls that mean nothing, and a recall of an exact search."""
    with pytest.raises(ValidationError, match="index: ivf, ivfpq or hnsw"):
        PatchCoreParams.model_validate({"search": search})
