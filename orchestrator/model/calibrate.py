"""A new threshold from new normal images alone, with what so many of them promise about false alarms.

Split conformal: the threshold lies just above the (n - k)-th smallest of n normal scores. If later normal images are
exchangeable with these, the expected share that it flags is (k + 1) / (n + 1) at most, whatever the scores'
distribution; the share itself is Beta(k + 1, n - k), which gives the bound that holds in a share of calibrations. See
`adloc.uncertainty.order_statistics` for the sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

from adloc.errors import Complaint, UserError
from adloc.model.folder import Judged, read_spec, write_reference, write_spec
from adloc.model.spec import Threshold
from adloc.thresholds import just_above_rank, rounded_up
from adloc.uncertainty.order_statistics import expected_bound, largest_rank, least_normals, upper_bound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.model.folder import Model
    from adloc.model.spec import ModelSpec

Kept = Literal["confident", "expected"]


@dataclass(frozen=True, slots=True)
class Rank:
    """How many of n normal images a threshold flags, and what that promises.

    Attributes:
        n: normal images.
        k: of them flagged.
        expected: the expected share of all normal images that is flagged is at most this.
        upper: the share is at most this, with `confidence`.
        confidence: of `upper`.
    """

    n: int
    k: int
    expected: float
    upper: float
    confidence: float


def choose_rank(n: int, fpr: float | None, confidence: float, kept: Kept) -> Rank:
    """The most of n normal images that may be flagged to keep a rate of false alarms.

    Args:
        n: normal images, at least one.
        fpr: the rate; None to flag none of the n.
        confidence: with which the rate is kept, where `kept` is "confident".
        kept: whether the rate holds with that confidence, or on the average of calibrations.

    Raises:
        UserError: so few images promise no such rate; how many would is said.
    """
    k: int | None = 0
    if fpr is not None:
        k = largest_rank(n, fpr, confidence) if kept == "confident" else expected_rank(n, fpr)
    if k is None:
        raise UserError(_too_few(n, fpr or 0.0, confidence, kept))
    return Rank(n, k, expected_bound(n, k), upper_bound(n, k, confidence), confidence)


def expected_rank(n: int, fpr: float) -> int | None:
    """The largest k with (k + 1) / (n + 1) <= fpr; None where there is none.

    >>> [expected_rank(n, 0.01) for n in (98, 99, 200)]
    [None, 0, 1]
    """
    k = math.floor(fpr * (n + 1) + 1e-9) - 1
    return k if k >= 0 else None


def images_for(fpr: float, confidence: float, kept: Kept) -> int:
    """The fewest normal images that promise a rate."""
    return least_normals(fpr, confidence) if kept == "confident" else math.ceil(1 / fpr - 1e-9) - 1


def calibrated(
    model: Model,
    scores: NDArray[np.float32],
    statistics: NDArray[np.float64],
    names: tuple[str, ...],
    rank: Rank,
) -> ModelSpec:
    """Give a model the threshold of new normal images, and compare later ones with them; written whole or not at all.

    The defects that it knew stay, and so does the pixel threshold of the contours, which takes masks.

    Args:
        model: whose folder is written.
        scores: float32 (n,) of new normal images.
        statistics: float64 (n, S) of the same.
        names: of the S statistics.
        rank: from `choose_rank`.

    Raises:
        UserError: a score is not finite, the model was changed meanwhile, or its folder cannot be written.
    """
    if not np.isfinite(scores).all():
        found = f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are nan or infinite"
        raise UserError(Complaint(found, "a threshold lies between scores", "look for broken images"))
    spec, known = model.spec, model.reference
    if read_spec(model.path).check != spec.check:
        rule = "a calibration replaces the threshold that it found when it began"
        found = f"{model.path}: the model was changed while its images were scored"
        raise UserError(Complaint(found, rule, "calibrate it again, one at a time"))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    judged = Judged(
        np.concatenate([scores, known.scores[known.labels]]),
        np.concatenate([np.zeros(len(scores), np.bool_), np.ones(int(known.labels.sum()), np.bool_)]),
        np.concatenate([statistics, _defects_statistics(known, statistics.shape[1])]),
    )
    threshold = Threshold(
        image=just_above_rank(scores, rank.k),
        pixel=spec.threshold.pixel,
        objective=f"{rank.k} of {rank.n} normal images flagged",
        source=f"{rank.n} normal images",
        n_normal=rank.n,
        expected_fpr=rank.expected,
        upper_fpr=rank.upper,
        confidence=rank.confidence,
        set_on=now,
    )
    try:
        name = write_reference(model.path, judged)
        reference = spec.reference.model_copy(
            update={
                "file": name,
                "source": f"{rank.n} normal images of {now[:10]}",
                "n_normal": rank.n,
                "statistics": names,
            }
        )
        update = {"threshold": threshold, "former": (*spec.former, spec.threshold), "reference": reference}
        files = {each: digest for each, digest in spec.files.items() if each != spec.reference.file}
        written = write_spec(model.path, spec.model_copy(update=update | {"files": files}))
        if spec.reference.file != name:
            (model.path / spec.reference.file).unlink(missing_ok=True)
    except OSError as error:
        rule = "the new threshold is written into the model's folder"
        raise UserError(
            Complaint(f"{model.path}: {error.strerror}", rule, "make the folder writable, or copy it")
        ) from None
    return written


def _defects_statistics(known: Judged, n_statistics: int) -> NDArray[np.float64]:
    """Those of the defects that the model knew, which nobody compares anything with: nan where others were measured."""
    of_defects = known.statistics[known.labels]
    return of_defects if of_defects.shape[1] == n_statistics else np.full((len(of_defects), n_statistics), np.nan)


def sentences(rank: Rank, before: float | None, after: float, fpr: float | None, kept: Kept) -> list[str]:
    """What was set and what it promises, for people."""
    moved = "" if before is None else f" (it was {before:.6g})"
    lines = [
        f"threshold {after:.6g}{moved}: {rank.k} of the {rank.n} normal images reach it",
        f"of 10,000 good parts expect at most {_parts(rank.expected)} false alarms on the average, and at most "
        f"{_parts(rank.upper)} with {100 * rank.confidence:g} % confidence, while parts look like these",
    ]
    if fpr is None:
        wanted = (0.01, 0.001)
        needs = " and ".join(f"{least_normals(r, rank.confidence)} for {r:.1%}" for r in wanted)
        lines.append(f"a rate with {100 * rank.confidence:g} % confidence takes {needs} normal images")
    else:
        how = f"with {100 * rank.confidence:g} % confidence" if kept == "confident" else "on the average"
        lines.append(f"a rate of {fpr:g} {how} takes {images_for(fpr, rank.confidence, kept)} normal images at least")
    return lines


def _parts(rate: float) -> str:
    """Of 10,000, rounded up: no promise is made smaller than it is."""
    n = 10_000 * rate
    return f"{math.ceil(n):,}" if n >= 10 else f"{math.ceil(10 * n) / 10:g}"  # noqa: PLR2004


def _too_few(n: int, fpr: float, confidence: float, kept: Kept) -> Complaint:
    how = f"with {100 * confidence:g} % confidence" if kept == "confident" else "on the average of calibrations"
    other = (
        f", or promise it on the average alone, which takes {images_for(fpr, confidence, 'expected')} "
        "(--promise expected)"
        if kept == "confident"
        else ""
    )
    least = upper_bound(n, 0, confidence) if kept == "confident" else expected_bound(n, 0)
    rounded = rounded_up(least)
    promised = f", use --fpr {rounded}, which these can promise" if float(rounded) < 1 else ""
    return Complaint(
        f"{n} normal image{'s' * (n != 1)}",
        f"to flag at most {fpr:g} of the good parts {how} takes {images_for(fpr, confidence, kept)}",
        f"bring more{promised}{other}",
    )
