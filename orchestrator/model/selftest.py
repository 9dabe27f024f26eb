"""A handful of images with the scores that the study gave them: by replaying them a model proves itself."""

from __future__ import annotations

import base64
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from adloc.computing.environment import describe, environment
from adloc.errors import Complaint, UserError
from adloc.model.folder import SELFTEST

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from adloc.model.scorer import Scorer

TOLERANCE = 1e-3  # of the spread of the self-test's scores, on another machine, device, engine or version
N_IMAGES = 6
_LIBRARIES = ("torch", "numpy", "faiss-gpu", "faiss-cpu", "anomalib", "timm", "torchvision", "onnxruntime", "openvino")


class Case(BaseModel):
    """One image.

    Attributes:
        name: of the image in its dataset.
        anomalous: what it is.
        recorded: the score of the study's record.
        replayed: the score that this model gave when it was exported.
        png: the image as the model sees it, base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    anomalous: bool
    recorded: float
    replayed: float
    png: str

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 (height, width, 3)."""
        return np.asarray(Image.open(BytesIO(base64.b64decode(self.png))).convert("RGB"))


class SelfTest(BaseModel):
    """What was replayed, and on what.

    Attributes:
        machine: processor, device, engine and versions: where they are the same, so are the scores' bits.
        cases: the images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: dict[str, str]
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay showed.

    Attributes:
        n_images: replayed.
        same_machine: whether processor, device, engine and versions are those of the export.
        differs: by name of what is another one: (then, now).
        largest: the largest difference of a score from the exported one.
        tolerance: what is allowed: 0 on the same machine.
        from_record: the largest difference of an exported score from the study's record.
    """

    n_images: int
    same_machine: bool
    differs: dict[str, tuple[str, str]]
    largest: float
    tolerance: float
    from_record: float

    @property
    def passed(self) -> bool:
        """Whether the scores are those that were exported."""
        return self.largest <= self.tolerance


def machine_of(device: torch.device, engine: str, method_code: str) -> dict[str, str]:
    """What a score's last bits may depend on.

    Args:
        device: where it is computed.
        engine: of the backbone.
        method_code: identity of a plug-in's source or a library's version, as it is now; empty for adloc's own.
    """
    found = {
        "method": method_code or "adloc",
        "cpu": environment()["cpu"],
        "system": platform.system(),
        "device": describe(device),
        "engine": engine,
    }
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def choose_cases(scores: NDArray[np.floating], labels: NDArray[np.bool_], n: int = N_IMAGES) -> list[int]:
    """Numbers of images that span the scores of each class: the lowest, the highest, and those between."""
    chosen: list[int] = []
    for numbers in (np.flatnonzero(~labels), np.flatnonzero(labels)):
        order = numbers[np.argsort(scores[numbers], kind="stable")]
        n_some = min(len(order), n // 2)
        chosen += [int(i) for i in order[np.linspace(0, len(order) - 1, n_some).round().astype(int)]] if n_some else []
    return sorted(set(chosen))


def encode(pixels: NDArray[np.uint8]) -> str:
    """A picture as base64 of a PNG."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def write_selftest(folder: Path, test: SelfTest) -> None:
    """Write it into a model's folder."""
    (folder / SELFTEST).write_text(test.model_dump_json(indent=1), encoding="utf-8")


def read_selftest(folder: Path) -> SelfTest:
    """Read it.

    Raises:
        UserError: it is damaged.
    """
    try:
        return SelfTest.model_validate_json((folder / SELFTEST).read_bytes())
    except (OSError, ValidationError) as error:
        rule = "it holds the images that a model proves itself with"
        raise UserError(Complaint(f"{folder / SELFTEST}: {error}", rule, "export the model again")) from None


def replay(scorer: Scorer) -> Replayed:
    """Score the self-test's images again.

    Raises:
        UserError: there are none.
    """
    test = read_selftest(scorer.model.path)
    now = machine_of(scorer.device, scorer.model.spec.engine, scorer.method_code)
    names = sorted(test.machine.keys() | now.keys())
    pairs = {name: (test.machine.get(name, "absent"), now.get(name, "absent")) for name in names}
    differs = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    recorded, replayed = (np.array([getattr(c, name) for c in test.cases]) for name in ("recorded", "replayed"))
    scores = scorer.score(np.stack([case.pixels() for case in test.cases])).scores.astype(np.float64)
    return Replayed(
        n_images=len(test.cases),
        same_machine=not differs,
        differs=differs,
        largest=float(np.abs(scores - replayed).max()),
        tolerance=tolerance_of(recorded) if differs else 0.0,
        from_record=float(np.abs(replayed - recorded).max()),
    )


def tolerance_of(scores: NDArray[np.floating]) -> float:
    """How far a score may be off where processor, device, engine or versions are others."""
    spread = float(np.ptp(scores))
    return TOLERANCE * (spread or float(np.abs(scores).max()) or 1.0)


def describe_replay(found: Replayed) -> str:
    """What a replay found, in lines for people."""
    where = "the machine and versions of the export" if found.same_machine else "another machine, device or version"
    allowed = "bit for bit" if found.same_machine else f"within {found.tolerance:.3g}"
    verdict = "passed" if found.passed else "FAILED"
    lines = [
        f"self-test {verdict}: {found.n_images} images on {where}, asked for {allowed}, "
        f"largest difference {found.largest:.3g}"
    ]
    lines += [f"  {name}: {then} then, {now} now" for name, (then, now) in found.differs.items()]
    return "\n".join(lines)
