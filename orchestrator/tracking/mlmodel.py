"""The files by which MLflow knows a model's folder as one of its models."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

import adloc

if TYPE_CHECKING:
    from pathlib import Path

_LOADER = "adloc.model.served"


def write_mlmodel(folder: Path, example: bytes) -> None:
    """Write MLmodel, its requirements and an input example into a model's folder.

    The model is loaded by adloc's own module from the files that are there: no pickle, no copied code.

    Args:
        folder: of the model; without MLmodel yet.
        example: the bytes of an image file.
    """
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it looks for pip where there may be none
    aside = folder / ".mlflow"
    mlflow.pyfunc.save_model(
        str(aside),
        loader_module=_LOADER,
        signature=ModelSignature(
            Schema([ColSpec("binary", "image")]),
            Schema(
                [
                    ColSpec("double", "score", required=False),
                    ColSpec("boolean", "anomalous", required=False),
                    ColSpec("double", "threshold", required=False),
                    ColSpec("string", "error", required=False),
                ]
            ),
        ),
        input_example=pd.DataFrame({"image": [example]}),
        pip_requirements=[f"adloc=={adloc.__version__}"],
    )
    for file in aside.iterdir():
        file.rename(folder / file.name)
    aside.rmdir()
