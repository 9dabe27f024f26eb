"""Folders that no publisher has laid out: which hold normal, anomalous and mask images, by their names."""

from __future__ import annotations

from dataclasses import dataclass
from glob import escape
from itertools import takewhile
from typing import TYPE_CHECKING

from adloc.init.words import part_of, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from adloc.init.look import Folder
    from adloc.init.words import Part, Role


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of `kind: folder` that name a category's images.

    Attributes:
        normal: globs relative to the category's folder.
        test_normal: the same; empty where the layout does not divide the normal images.
        anomalous: the same.
        masks: folder of the masks, relative to the category's folder.
        notes: what was taken for granted, or left out.
    """

    normal: tuple[str, ...]
    test_normal: tuple[str, ...]
    anomalous: tuple[str, ...]
    masks: str | None
    notes: tuple[str, ...]

    def keys(self) -> dict[str, object]:
        """The keys that are not empty."""
        named = {"normal": self.normal, "anomalous": self.anomalous, "test_normal": self.test_normal}
        found: dict[str, object] = {key: list(globs) for key, globs in named.items() if globs}
        return found if self.masks is None else {**found, "masks": self.masks}


@dataclass(slots=True)
class _Leaf:
    """A folder with images directly inside, and what the names on the way to it say."""

    folder: Folder
    names: tuple[str, ...]
    role: Role | None
    part: Part | None

    @property
    def where(self) -> str:
        return "/".join(self.names) or "the folder itself"

    @property
    def n_images(self) -> int:
        return len(self.folder.images)


def says_something(folder: Folder) -> bool:
    """Whether the name of any folder below says what its images are."""
    return any(leaf.role or leaf.part for leaf in _leaves(folder))


def plain_layout(folder: Folder) -> Layout | None:
    """Return what the folder of one category holds; None when no images in it can be taken as normal."""
    leaves = _leaves(folder)
    notes: list[str] = []
    _name_the_rest(leaves, notes)
    normals = [leaf for leaf in leaves if leaf.role == "normal"]
    if not normals:
        return None
    tested = [leaf for leaf in normals if leaf.part == "test"]
    if len(tested) == len(normals):
        tested = []
    fitted = [leaf for leaf in normals if leaf not in tested]
    anomalous = [leaf for leaf in leaves if leaf.role == "anomalous"]
    return Layout(
        _globs(fitted, leaves),
        _globs(tested, leaves),
        _globs(anomalous, leaves),
        _mask_folder([leaf for leaf in leaves if leaf.role == "masks"], notes) or _beside(anomalous),
        tuple(notes),
    )


def _leaves(folder: Folder) -> list[_Leaf]:
    found = []
    for each in folder.with_images():
        names = each.path.relative_to(folder.path).parts
        roles = [role for role in map(role_of, names) if role]
        parts = [part for part in map(part_of, names) if part]
        role = "masks" if "masks" in roles else roles[-1] if roles else None
        found.append(_Leaf(each, names, role, parts[0] if parts else None))
    return found


def _name_the_rest(leaves: Sequence[_Leaf], notes: list[str]) -> None:
    """Give the folders whose names say nothing the role that their place suggests, and note it."""
    known = [leaf for leaf in leaves if leaf.role == "normal"]
    rest = [leaf for leaf in leaves if leaf.role is None]
    is_trained = any(leaf.part == "train" for leaf in known or rest)
    for leaf in rest:
        leaf.role, taken = _by_place(leaf, known, is_trained=is_trained)
        if not (known and _is_of_test(leaf)):  # what is usual needs no note
            notes.append(f"{leaf.where}: {leaf.n_images} images {taken}")


def _by_place(leaf: _Leaf, known: Sequence[_Leaf], *, is_trained: bool) -> tuple[Role | None, str]:
    """The role that a place suggests beside known normal images, and how its images are taken.

    Args:
        leaf: whose name says nothing.
        known: folders of normal images.
        is_trained: whether one of them is of the train part; where none is known, whether any folder is.
    """
    if leaf.part == "train" and not (known and is_trained):
        return "normal", "taken as good, for they are there to be learned from"
    if _is_of_test(leaf) or _is_beside(leaf, known):
        return "anomalous", f"taken as defective, of the type {leaf.names[-1]}"
    if known or is_trained or leaf.part == "test":
        return None, "left out, for nothing says whether they are good"
    return "normal", "taken as good, for nothing says otherwise"


def _is_of_test(leaf: _Leaf) -> bool:
    """Whether it is a folder within the test part."""
    return leaf.part == "test" and part_of(leaf.names[-1]) is None


def _is_beside(leaf: _Leaf, known: Sequence[_Leaf]) -> bool:
    """Whether it stands beside a folder of normal images, outside of the test part."""
    return bool(leaf.names) and leaf.part != "test" and any(leaf.names[:-1] == other.names[:-1] for other in known)


def _globs(chosen: Sequence[_Leaf], leaves: Sequence[_Leaf]) -> tuple[str, ...]:
    """The fewest globs that find the images of these folders and no others."""
    found: dict[str, None] = {}
    for leaf in chosen:
        named = bool(leaf.names) and bool(role_of(leaf.names[0]) or part_of(leaf.names[0]))
        for depth in range(int(named), len(leaf.names) + 1):
            above = leaf.names[:depth]
            if all(other in chosen for other in leaves if other.names[:depth] == above):
                found["/".join([*map(escape, above), "*"])] = None
                break
        else:  # folders of another kind lie inside: its own images alone
            for suffix in dict.fromkeys(path.suffix for path in leaf.folder.images):
                found["/".join([*map(escape, leaf.names), f"*{escape(suffix)}"])] = None
    return tuple(found)


def _mask_folder(masks: Iterable[_Leaf], notes: list[str]) -> str | None:
    """The folder of masks with the most images."""
    n_images: dict[str, int] = {}
    for leaf in masks:
        depth = next(i for i, name in enumerate(leaf.names, 1) if role_of(name) == "masks")
        name = "/".join(leaf.names[:depth])
        n_images[name] = n_images.get(name, 0) + leaf.n_images
    if not n_images:
        return None
    most = max(n_images, key=lambda name: n_images[name])
    notes += [f"{name}: masks left out, for one folder of masks is read, {most}" for name in n_images if name != most]
    return most


def _beside(anomalous: Sequence[_Leaf]) -> str | None:
    """The folder of anomalous images, where their masks lie beside them: x_mask.png beside x.png."""
    with_masks = [leaf for leaf in anomalous if any(path.stem.endswith("_mask") for path in leaf.folder.images)]
    names = [leaf.names for leaf in with_masks]
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, zip(*names, strict=False))]
    return "/".join(shared) or None
