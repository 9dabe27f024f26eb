"""What the names of folders say of the images inside, in the languages of those who name them."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Role = Literal["normal", "anomalous", "masks"]
Part = Literal["train", "test"]

_NORMAL = {
    *(
        "good",
        "goods",
        "fine",
        "ok",
        "normal",
        "normals",
        "nominal",
        "healthy",
        "intact",
        "pass",
        "passed",
        "clean",
        "perfect",
    ),
    *("gut", "io", "einwandfrei", "fehlerfrei", "bon", "bons", "bonne", "bonnes", "conforme", "conformes"),
    *("bueno", "buenos", "buena", "buenas", "buono", "buoni", "buona", "bom", "bons", "boa", "boas", "dobre", "dobry"),
    *("goed", "hyva", "godkand", "bra", "norma", "норма", "годные", "хорошие"),
    *("正常", "良品", "合格", "정상", "양품"),
}
_ANOMALOUS = {
    *("bad", "ng", "nok", "ko", "nio", "abnormal", "anomaly", "anomalies", "anomalous", "defect", "defects", "fail"),
    *("defective", "defectives", "faulty", "fault", "faults", "failed", "damaged", "damage", "broken", "reject"),
    *("rejects", "rejected", "scrap", "outlier", "outliers", "flawed", "flaw", "flaws"),
    *("schlecht", "fehler", "fehlerhaft", "defekt", "defekte", "ausschuss", "mangel"),
    *("mauvais", "mauvaise", "defaut", "defauts", "defectueux", "rebut", "malo", "malos", "mala", "defecto"),
    *("defectos", "defectuoso", "difetto", "difetti", "difettoso", "scarto", "scarti", "ruim", "defeito", "defeitos"),
    *("zle", "zly", "wada", "wady", "kusur", "kusurlu", "hatali", "fout", "slecht", "брак", "дефект", "дефекты"),
    *("異常", "异常", "不良", "不良品", "不合格", "欠陥", "缺陷", "瑕疵", "불량", "이상"),
}
_MASKS = {
    *("mask", "masks", "gt", "groundtruth", "segmentation", "segmentations", "annotation", "annotations"),
    *("maske", "masken", "masque", "masques", "mascara", "mascaras", "maschera", "maschere"),
}
_TRAIN = {"train", "training", "trainset", "trn"}
_TEST = {"test", "testing", "testset", "tst", "eval", "evaluation"}
_NOT = {"not", "no", "non", "nicht", "kein", "keine", "ohne", "without", "sans", "sin", "senza", "sem"}
_FREE = {"free", "frei"}


def words(name: str) -> list[str]:
    """Return the words of a name in lower case without accents: "Défauts_n.i.O. 2" gives defauts, nio.

    >>> words("Non-Conforme_02"), words("i.O.")
    (['non', 'conforme'], ['io'])
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    plain = unicodedata.normalize("NFC", "".join(c for c in plain if c == "\u3099" or not unicodedata.combining(c)))
    return re.findall(r"[^\W\d_]+", re.sub(r"\b(n?)\.?i\.o\b\.?", r"\1io", plain))


def role_of(name: str) -> Role | None:
    """Return what images a folder of this name holds; None when its name does not say.

    A word of denial turns the meaning: not_ok is anomalous, no_defects and defect_free are normal.

    >>> [role_of(name) for name in ("01 good", "Not OK", "defect-free", "ground_truth", "crack")]
    ['normal', 'anomalous', 'normal', 'masks', None]
    """
    found = words(name)
    if _MASKS & {*found, "".join(found)}:
        return "masks"
    role: Role | None = "anomalous" if _says(_ANOMALOUS, found) else "normal" if _says(_NORMAL, found) else None
    denied = bool(_NOT & {*found}) or (role == "anomalous" and bool(_FREE & {*found}))
    if role is None or not denied:
        return role
    return "normal" if role == "anomalous" else "anomalous"


def part_of(name: str) -> Part | None:
    """Return whether a folder of this name is for fitting or for testing; None when its name does not say."""
    found = {*words(name)}
    return "train" if _TRAIN & found else "test" if _TEST & found else None


def _says(vocabulary: set[str], found: list[str]) -> bool:
    """Whether a word is there; in scripts that put no space between words, whether it is a part of one."""
    return any(word in vocabulary or any(not own.isascii() and own in word for own in vocabulary) for word in found)
