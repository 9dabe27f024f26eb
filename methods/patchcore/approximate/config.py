"""How a memory bank is searched, as a study file says it; without importing torch or FAISS."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

IndexName = Literal["flat", "ivf", "ivfpq", "hnsw"]
LEAST_RECALL, MOST_RECALL = 0.5, 0.999  # of those that are measured


class SearchConfig(BaseModel):
    """How a memory bank is searched.

    Attributes:
        index: flat: exactly. ivf: in the nearest of some hundred cells alone (Sivic and Zisserman 2003). ivfpq: the
            same on product-quantised entries, a thirtieth of their size (Jegou et al. 2011, doi 10.1109/TPAMI.2010.57).
            hnsw: along a graph of neighbours (Malkov and Yashunin 2018, arXiv 1603.09320).
        recall: of an index that is not flat: the share of the nearest entries, and of the k nearest, that it must find
            of patches of the validation part. 1, of ivf alone: of all patches, for it looks into every cell that the
            triangle inequality does not rule out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    index: IndexName = "flat"
    recall: float = Field(default=0.99, ge=LEAST_RECALL, le=1)

    @model_validator(mode="after")
    def _flat_is_exact(self) -> SearchConfig:
        if self.index == "flat" and "recall" in self.model_fields_set and self.recall != FLAT_RECALL:
            raise ValueError("flat finds every neighbour")
        if self.recall > MOST_RECALL and not self.bounded:
            raise ValueError(f"a recall above {MOST_RECALL} cannot be measured: 1, of ivf alone, needs no measure")
        return self

    @property
    def bounded(self) -> bool:
        """Whether every neighbour is found, by what the triangle inequality rules out."""
        return self.index == "ivf" and self.recall == 1

    def __str__(self) -> str:
        """As in tables: "ivf, recall 0.99"."""
        return self.index if self.index == "flat" else f"{self.index}, recall {self.recall:g}"


FLAT_RECALL = 0.99  # the default, which says nothing of an exact search
FLAT = SearchConfig()
