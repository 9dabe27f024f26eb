"""How a study is to be computed: what is asked for, before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Computing:
    """How a study is to be computed.

    Attributes:
        executor: "local" or "ray".
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        jobs: local: CPU threads, None for all cores. ray: stages at a time, None for as many as the cores suggest.
        batch_size: images a backbone pass; None for what is fastest on the device.
    """

    executor: Literal["local", "ray"] = "local"
    device: str = "auto"
    jobs: int | None = None
    batch_size: int | None = None
