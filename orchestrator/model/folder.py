"""The folder of an exported model, as it is written and read: whole or refused, no pickle in it.

model.json (see `spec`), arrays.safetensors (the fit), reference-*.safetensors (the scores that later ones are compared
with), selftest.json, card.md, MLflow's MLmodel with what belongs to it, and, where they were asked for,
backbone.safetensors and a converted network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save, save_file

from adloc.errors import Complaint, UserError
from adloc.keys import hash_file
from adloc.methods.detector import Result
from adloc.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

SPEC, ARRAYS, SELFTEST, CARD = "model.json", "arrays.safetensors", "selftest.json", "card.md"
BACKBONE, CONVERTED = "backbone.safetensors", "network.onnx"
_JUDGED = {"scores": np.float32, "labels": np.bool_, "statistics": np.float64}
_REFERENCE, _FITTED_ON = "reference-", "fitted_on"
_AGAIN = "export the model again, or copy the whole folder again"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What later images are compared with.

    Attributes:
        scores: float32 (N,), raw scores of the images.
        labels: bool (N,), True = anomalous.
        statistics: float64 (N, S), what else was measured of each.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.bool_]
    statistics: NDArray[np.float64]

    @property
    def normal(self) -> NDArray[np.float32]:
        """Scores of the normal images."""
        return self.scores[~self.labels]


NOTHING = Judged(np.zeros(0, np.float32), np.zeros(0, np.bool_), np.zeros((0, 0)))


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """An exported model, read and found whole.

    Attributes:
        path: its folder.
        spec: model.json.
        fit: what the fit left, by step.
        reference: see `Judged`.
        fitted_on: the first 16 hexadecimal digits of the SHA-256 of every image file that it was fitted on.
    """

    path: Path
    spec: ModelSpec
    fit: Mapping[str, Result]
    reference: Judged
    fitted_on: frozenset[str] = frozenset()


def read_model(path: Path) -> Model:
    """Read a model's folder.

    Raises:
        UserError: it is none, of another version, or a file in it is missing, damaged or changed.
    """
    spec = read_spec(path)
    for name, digest in spec.files.items():
        check_file(path / name, digest)
    arrays = _read_arrays(path / ARRAYS)
    fit = {}
    for step, facts in spec.steps.items():
        named = {name: arrays.get(f"{step}/{name}") for name in facts.arrays}
        lacking = [name for name, array in named.items() if array is None]
        if lacking:
            raise _damaged(path / ARRAYS, f"lacks {', '.join(lacking)} of step {step}")
        plain = {name: array for name, array in named.items() if array is not None}
        fit[step] = Result(plain, {k: v for k, v in facts.facts.items() if isinstance(v, str | int | float | bool)})
    hashes = arrays.get(_FITTED_ON, np.zeros((0, 8), np.uint8))
    if hashes.ndim != 2:  # noqa: PLR2004  # a row an image
        raise _damaged(path / ARRAYS, f"{_FITTED_ON} is no list of hashes")
    fitted_on = frozenset(row.tobytes().hex() for row in hashes)
    return Model(path, spec, fit, _read_judged(path / spec.reference.file), fitted_on)


def read_spec(path: Path) -> ModelSpec:
    """Read model.json alone, which names the other files by hash.

    Raises:
        UserError: there is none, it is damaged, changed by hand, or of another version.
    """
    place = path / SPEC
    _require_regular(place)
    try:
        spec = ModelSpec.model_validate_json(place.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            Complaint(
                f"{path}: no {SPEC}" if path.is_dir() else f"{path}: no such folder",
                "a model is a folder that `adloc model export` wrote",
                "name the folder itself",
            )
        ) from None
    except OSError as error:
        raise _damaged(place, f"cannot be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _damaged(place, f"{where}: {first['msg']}" if where else first["msg"]) from None
    if not spec.is_intact:
        raise UserError(
            Complaint(
                f"{place}: a value in it is not the one that was written",
                "what the file says is under its own check, so that nothing changes unseen",
                "set a threshold by `adloc model calibrate` or `adloc predict --threshold`; or export the model again",
            )
        )
    return spec


def check_file(path: Path, sha256: str) -> None:
    """Refuse a file that is not the one that was written.

    Raises:
        UserError: it is missing or differs.
    """
    _require_regular(path)
    try:
        found = hash_file(path)
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from None
    if found != sha256:
        raise _damaged(path, f"its SHA-256 begins with {found[:8]}, and that of the file written with {sha256[:8]}")


def write_fit(folder: Path, fit: Mapping[str, Result], hashes: Sequence[str] = ()) -> None:
    """Write the arrays of the fit, and of which images it is: `hashes` are the SHA-256 of their files."""
    arrays = {f"{step}/{name}": array for step, result in fit.items() for name, array in result.arrays.items()}
    if hashes:
        arrays[_FITTED_ON] = np.array([list(bytes.fromhex(digest[:16])) for digest in hashes], np.uint8)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / ARRAYS)
    let_others_read(folder / ARRAYS)


def write_reference(folder: Path, judged: Judged) -> str:
    """Write what later images are compared with to a file of its own name, and return that: model.json names one."""
    arrays = {
        "scores": np.ascontiguousarray(judged.scores, np.float32),
        "labels": np.ascontiguousarray(judged.labels, np.bool_),
        "statistics": np.ascontiguousarray(judged.statistics, np.float64),
    }
    data = save(arrays)
    name = f"{_REFERENCE}{hashlib.sha256(data).hexdigest()[:12]}.safetensors"
    with (folder / name).open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return name


def write_spec(folder: Path, spec: ModelSpec) -> ModelSpec:
    """Write model.json with the hashes of the model's files as they are now; written aside and renamed."""
    files = {name: hash_file(folder / name) for name in sorted({*spec.files, ARRAYS, SELFTEST, spec.reference.file})}
    sealed = spec.model_copy(update={"files": files}).sealed()
    aside = folder / f".{SPEC}.{uuid4().hex}.tmp"  # of this call alone: another may be writing too
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(sealed.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(folder / SPEC)
    finally:
        aside.unlink(missing_ok=True)
    return sealed


def let_others_read(path: Path) -> None:
    """Give a file that safetensors wrote for its owner alone the mode of any other new file."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill beside `path`, which gets its name when all is in it: whole or absent.

    Raises:
        UserError: something is there already, or it cannot be written.
    """
    if path.resolve() == Path.cwd():
        rule = "a model is a folder that gets its name when all is in it, and this one is in use"
        raise UserError(Complaint(f"{path} is the current folder", rule, "name a new one by --output"))
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            Complaint(
                f"{path} is there, and not an empty folder",
                "a model is written to a folder of its own, and none is overwritten",
                "name another folder by --output, or remove this one",
            )
        )
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}.draft")
    try:
        draft.mkdir(parents=True)
        yield draft
        for file in (p for p in draft.rglob("*") if p.is_file()):
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        if path.exists():
            path.rmdir()
        draft.rename(path)
    except (OSError, SafetensorError) as error:
        if _speaks_of_another(error, draft, path):
            raise
        why = getattr(error, "strerror", None) or error
        rule, remedy = "the model is written to a folder of its own", "choose another by --output, where there is room"
        raise UserError(Complaint(f"{path}: cannot be written ({why})", rule, remedy)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _speaks_of_another(error: Exception, draft: Path, path: Path) -> bool:
    """Whether an error names a file that is not of the model."""
    name = getattr(error, "filename", None)
    return name is not None and not {draft, path}.intersection({Path(str(name)), *Path(str(name)).parents})


def _read_judged(path: Path) -> Judged:
    arrays = _read_arrays(path)
    wrong = [name for name, kind in _JUDGED.items() if name not in arrays or arrays[name].dtype != kind]
    if wrong:
        raise _damaged(path, f"lacks {', '.join(wrong)}, or has it in another type")
    scores, labels, statistics = (arrays[name] for name in _JUDGED)
    if scores.ndim != 1 or not scores.shape == labels.shape == statistics.shape[:-1]:
        raise _damaged(path, "does not have a score, a label and its statistics for each image")
    return Judged(scores, labels, statistics)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        found: dict[str, NDArray[Any]] = load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:  # two for types numpy lacks
        raise _damaged(path, str(error).splitlines()[0]) from None
    return found


def _require_regular(path: Path) -> None:
    """Refuse what could be waited for, or read without an end: a pipe, a device."""
    if path.exists() and not path.is_file():
        raise _damaged(path, "is no file")


def _damaged(path: Path, why: str) -> UserError:
    return UserError(Complaint(f"{path}: {why}", "a model is used whole, as it was exported, or not at all", _AGAIN))
