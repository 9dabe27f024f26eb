"""A claim: one sentence of a study's answer; and where claims are kept for those who read them without the report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from adloc.record.records import write_json

if TYPE_CHECKING:
    from pathlib import Path

ClaimKind = Literal["use", "chosen", "warning", "verdict", "ablation", "unified", "tuning", "hard"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of the answer.

    Attributes:
        kind: what it is about.
        settings: labels of the settings that it names, the chosen one first.
        text: the sentence.
    """

    kind: ClaimKind
    settings: tuple[str, ...]
    text: str


def write_claims(claims: tuple[Claim, ...], folder: Path) -> None:
    """Keep the claims in the study's folder, for those who read them without the report."""
    write_json(folder / "claims.json", [asdict(claim) for claim in claims])


def read_claims(folder: Path) -> tuple[Claim, ...]:
    """The claims of the last report; none before there is one."""
    try:
        kept = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        return tuple(Claim(c["kind"], tuple(c["settings"]), c["text"]) for c in kept)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ()
