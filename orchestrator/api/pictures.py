"""Heatmaps: pictures that a notebook shows inline, and the arrays that they are drawn from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from io import BytesIO
from typing import TYPE_CHECKING, overload

import numpy as np
from PIL import Image

from adloc.errors import Complaint, UserError, nearest
from adloc.printed import printable
from adloc.record.heatmaps import DAMAGED, Caption, read_picture
from adloc.record.panels import PAPER
from adloc.record.pictured import choose_pictured, recorded_pictures
from adloc.record.png import encode_png
from adloc.record.records import HEATMAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from adloc.record.records import Records
    from adloc.study import Study

GAP = 6  # pixels between the pictures of a sheet


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """What a heatmap is drawn from.

    Attributes:
        image: uint8 (height, width, 3), RGB, as the model saw it.
        anomaly_map: float32 (height, width), raw scores; higher is more anomalous. The same field of view, at the
            evaluation size where that is another.
        mask: bool, of the map's shape, True on defect pixels; None of an image whose truth is not known.
    """

    image: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False, repr=False)
class Heatmap:
    """An image with its anomaly map, in colours that change from cold to warm at the threshold.

    Attributes:
        name: of the image.
        score: of the image, raw.
        threshold: anomalous from there on; None where there is none.
        anomalous: what the image truly is; None where that is not known.
        png: the picture, a PNG file.
        arrays_of: gives what it is drawn from.
    """

    name: str
    score: float
    threshold: float | None
    anomalous: bool | None
    png: bytes
    arrays_of: Callable[[], Arrays]

    def __repr__(self) -> str:
        """For people: a line."""
        return printable(f"{self.name}: {self.verdict}, score {self.score:.4g}")

    def _repr_png_(self) -> bytes:
        """Inline in a notebook."""
        return self.png

    @property
    def verdict(self) -> str:
        """ "hit", "miss", "false alarm", "correct rejection"; without the truth "anomalous" or "normal"."""
        if self.anomalous is not None:
            return Caption(self.name, self.anomalous, self.score, self.threshold).verdict
        if self.threshold is None:
            return "no threshold"
        return "anomalous" if self.score >= self.threshold else "normal"

    @property
    def image(self) -> NDArray[np.uint8]:
        """See `Arrays`; read when it is first asked for, as the others are.

        Raises:
            UserError: of a recorded run, the study's images or its weights are not there.
        """
        return self._arrays.image

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """See `Arrays`."""
        return self._arrays.anomaly_map

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """See `Arrays`."""
        return self._arrays.mask

    @cached_property
    def _arrays(self) -> Arrays:
        return self.arrays_of()


class Heatmaps(Sequence[Heatmap]):
    """Several heatmaps; in a notebook one under the other."""

    def __init__(self, heatmaps: Iterable[Heatmap]) -> None:
        """Keep them in this order."""
        self._heatmaps = tuple(heatmaps)

    def __len__(self) -> int:
        return len(self._heatmaps)

    @overload
    def __getitem__(self, index: int) -> Heatmap: ...

    @overload
    def __getitem__(self, index: slice) -> Heatmaps: ...

    def __getitem__(self, index: int | slice) -> Heatmap | Heatmaps:
        """One of them, or some."""
        return Heatmaps(self._heatmaps[index]) if isinstance(index, slice) else self._heatmaps[index]

    def __repr__(self) -> str:
        """For people: a line each."""
        return "\n".join(map(repr, self._heatmaps)) or "no heatmaps"

    def _repr_png_(self) -> bytes | None:
        """Inline in a notebook."""
        return sheet([each.png for each in self._heatmaps]) if self._heatmaps else None


def recorded_heatmaps(run_id: str, records: Records, read: Callable[[], Mapping[str, Arrays]]) -> Heatmaps:
    """The pictures that a run's record keeps.

    Args:
        run_id: of the run.
        records: of its study.
        read: arrays by image; called when they are first asked for, once.

    Raises:
        UserError: there is no good record of the run, or it keeps no picture.
    """
    record = records.get(run_id)
    if record is None or record.status != "done":
        raise UserError(
            Complaint(
                f"run_id is {run_id}",
                "it must be a run of the study that is done",
                nearest(run_id, [each.run_id for each in records.all()]),
            )
        )
    scores = {each.image: each for each in records.image_scores(run_id, "test")}
    known = cache(read)
    found = []
    for path, name in recorded_pictures(records.path(run_id) / HEATMAPS, scores).items():
        said = scores[name]
        read_one = partial(_one_of, known, name)
        content = read_picture(path, record.files.get(f"{HEATMAPS}/{path.name}"))
        if content is None:
            told = printable(f"{path}: {DAMAGED}")
            warnings.warn(told, stacklevel=4)  # at the line of who asks a study for its heatmaps
            continue
        found.append(Heatmap(name, said.score, record.threshold, said.anomalous, content, read_one))
    if not found:
        raise UserError(
            Complaint(
                f"{run_id} has no pictures in its record",
                "a run keeps as many as its study's `heatmaps` says, of a method that says where a defect is",
                "set heatmaps: 8 in the study file and run it with fresh=True, or ask for a run of another method",
            )
        )
    return Heatmaps(found)


def _one_of(known: Callable[[], Mapping[str, Arrays]], name: str) -> Arrays:
    return known()[name]


def arrays_of_run(study: Study, run_id: str) -> dict[str, Arrays]:
    """What the pictures of a recorded run are drawn from, by image; found in the store, or computed where it is gone.

    Args:
        study: prepared.
        run_id: of a run.

    Raises:
        UserError: there is no such run, or it is not recorded as it stands today.
    """
    from adloc.computing.compute import Workbench
    from adloc.executors.on_demand import OnDemand
    from adloc.explain.boundary import find_run
    from adloc.explain.explainer import Unheard
    from adloc.planning.extents import Extents

    run, record = find_run(study, run_id), study.records.get(run_id)
    with OnDemand() as computes:
        device = computes.executor.device
        bench = Workbench(study.workspace.store(), Extents.of(study.plan), device, Unheard())
        pictured = choose_pictured(run, bench, None if record is None else record.threshold)
        return {each.caption.name: Arrays(each.read(), each.anomaly_map, each.mask) for each in pictured}


def sheet(pictures: Sequence[bytes]) -> bytes:
    """PNG files one under the other, as one."""
    opened = [np.asarray(Image.open(BytesIO(each)).convert("RGB")) for each in pictures]
    height = sum(each.shape[0] for each in opened) + GAP * (len(opened) - 1)
    sheet = np.full((height, max(each.shape[1] for each in opened), 3), PAPER, np.uint8)
    top = 0
    for each in opened:
        sheet[top : top + each.shape[0], : each.shape[1]] = each
        top += each.shape[0] + GAP
    return encode_png(sheet, {})
