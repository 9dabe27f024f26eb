"""A claim: one sentence of a study's answer; and where claims are kept for those who read them without the report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from adloc.record.beside import forget_beside, read_beside, write_beside

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
    write_beside(folder / "claims.json", json.dumps([asdict(claim) for claim in claims], indent=1))


def forget_claims(folder: Path) -> None:
    """Leave none of an earlier answer, before another is looked for: if that fails, nobody takes them for its own."""
    forget_beside(folder / "claims.json")


def read_claims(folder: Path) -> tuple[Claim, ...]:
    """The claims of the last report; none before there is one, or where its file is damaged."""
    try:
        kept = json.loads(read_beside(folder / "claims.json"))
        return tuple(Claim(c["kind"], tuple(c["settings"]), c["text"]) for c in kept)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ()
