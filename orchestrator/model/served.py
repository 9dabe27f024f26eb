"""What MLflow loads of a model's folder: its server, `models:/name@alias`, and `mlflow.pyfunc.load_model`.

The folder's MLmodel names this module, so nothing is unpickled and no code of the folder runs. A broken image is a row
with its error: the others of the request are scored.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from adloc.computing.environment import pick_device
from adloc.datasets.errors import DatasetError
from adloc.model.folder import read_model
from adloc.model.pictures import problem_of, read_picture
from adloc.model.scorer import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE = "image"
DEVICE = "ADLOC_DEVICE"
_BATCH = 16


class ServedModel:
    """The model behind MLflow's server."""

    def __init__(self, path: Path) -> None:
        """Load it; $ADLOC_DEVICE says where it computes."""
        self._scorer = Scorer(read_model(path), pick_device(os.environ.get(DEVICE, "auto")))

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Score images.

        Args:
            model_input: a column `image` of bytes (in JSON: base64 of a file), a row an image.
            params: none are known.

        Returns:
            Columns `score`, `anomalous`, `threshold` and `error`, in the order of the images.

        Raises:
            ValueError: there is no such column.
        """
        if IMAGE not in model_input:
            found = list(model_input.columns)
            message = f"the input has the columns {found}: it must have {IMAGE}, base64 of image files"
            raise ValueError(message)
        threshold = self._scorer.model.spec.threshold.image
        rows: list[dict[str, object]] = []
        values = list(model_input[IMAGE])
        for start in range(0, len(values), _BATCH):
            rows += self._score(values[start : start + _BATCH], start, threshold)
        columns = ["score", "anomalous", "threshold", "error"]
        return pd.DataFrame(rows, columns=columns, dtype=object)  # else None is NaN, which is no JSON

    def _score(self, values: list[object], first: int, threshold: float | None) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        prepared: dict[int, NDArray[np.uint8]] = {}
        for number, value in enumerate(values):
            rows.append({"score": None, "anomalous": None, "threshold": threshold, "error": None})
            try:
                prepared[number] = self._scorer.prepare(read_picture(_bytes(value), f"image {first + number}"))
            except DatasetError as error:
                rows[number]["error"] = problem_of(error)
        if prepared:
            scores = self._scorer.score(np.stack(list(prepared.values()))).scores
            for number, score in zip(prepared, scores.tolist(), strict=True):
                rows[number]["score"] = score
                rows[number]["anomalous"] = None if threshold is None else score >= threshold
        return rows


def _bytes(value: object) -> bytes:
    """What MLflow made of a cell: it decodes base64 in a dataframe's JSON, and not in `instances`, `inputs` and CSV.

    No image file is valid base64: each of the formats has bytes in its head that base64 has not.
    """
    data = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return data


def _load_pyfunc(path: str) -> ServedModel:
    """Called by MLflow with the model's folder."""
    return ServedModel(Path(path))
