"""Every image metric of a part in every resample, from one sort of the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.uncertainty.resampling import Weights


def image_replicates(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], threshold: float | None, weights: Weights
) -> dict[str, NDArray[np.float32]]:
    """The image metrics in each resample, by result column => (R,) each; nan where not defined.

    With weights of 1 they are the metrics of `adloc.metrics.ranking` and `adloc.metrics.classification`.

    Args:
        scores: (N,) raw.
        labels: (N,) True = anomalous.
        threshold: None leaves the metrics at a threshold out. It is held fixed.
        weights: (R, N), see `draw_weights`.
    """
    found = _ranked(scores, labels, weights)
    return found if threshold is None else found | _thresholded(scores, labels, threshold, weights)


def _ranked(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], weights: Weights
) -> dict[str, NDArray[np.float32]]:
    nothing = np.full(len(weights), np.nan, dtype=np.float32)
    if labels.all() or not labels.any():
        return {"image_auroc": nothing, "image_auprc": nothing}
    order = np.argsort(-scores, kind="stable")  # descending
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sorted_weights = weights[:, order]
    anomalous, normal = sorted_weights * labels[order], sorted_weights * ~labels[order]
    if starts.size < ordered.size:  # equal scores count together => (R, distinct scores)
        anomalous, normal = (np.add.reduceat(part, starts, axis=1) for part in (anomalous, normal))
    hits, alarms = np.cumsum(anomalous, axis=1), np.cumsum(normal, axis=1)
    n_anomalous, n_normal = hits[:, -1], alarms[:, -1]
    below = n_normal[:, None] - alarms + normal / 2
    auroc = (anomalous * below).sum(axis=1) / (n_anomalous * n_normal)
    precision = hits / np.maximum(hits + alarms, 1)
    auprc = (anomalous * precision).sum(axis=1) / n_anomalous
    return {"image_auroc": auroc.astype(np.float32), "image_auprc": np.minimum(auprc, 1).astype(np.float32)}


def _thresholded(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], threshold: float, weights: Weights
) -> dict[str, NDArray[np.float32]]:
    flagged = scores >= np.float64(threshold)
    counted = np.stack((flagged & labels, flagged & ~labels, labels, ~labels), axis=1)
    hits, alarms, n_anomalous, n_normal = (weights @ counted.astype(np.float32)).T  # exact: of whole numbers
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, fpr = hits / n_anomalous, alarms / n_normal
        f1 = np.where(n_anomalous > 0, 2 * hits / (hits + alarms + n_anomalous), np.nan)
        precision = np.where(n_anomalous > 0, hits / np.maximum(hits + alarms, 1), np.nan)
        accuracy = (hits + n_normal - alarms) / (n_anomalous + n_normal)
    return {
        "image_f1": f1.astype(np.float32),
        "image_accuracy": accuracy,
        "image_precision": precision.astype(np.float32),
        "image_recall": recall,
        "image_fpr": fpr,
        "image_fnr": 1 - recall,
    }
