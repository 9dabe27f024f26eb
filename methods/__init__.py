"""The detectors of adloc: what there is, and how it is reached. No torch is imported here."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from adloc.methods.errors import MethodError
from adloc.methods.padim_params import PADIM
from adloc.methods.patchcore.params import PATCHCORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.methods.detector import Detector
    from adloc.methods.method import Method

__all__ = ["METHODS", "MethodError", "find_method", "load_detector"]

METHODS: Mapping[str, Method] = {method.name: method for method in (PATCHCORE, PADIM)}


def find_method(name: str) -> Method:
    """The registered method of that name.

    Raises:
        MethodError: there is none.

    Example:
        >>> [step.name for step in find_method("patchcore").steps]
        ['coreset', 'search', 'scores']
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        raise MethodError(
            f"method is {name!r}",
            f"it must be one of {', '.join(METHODS)}",
            f"use {near[0] if near else next(iter(METHODS))}",
        )
    return METHODS[name]


def load_detector(method: Method) -> Detector:
    """An instance of the class that computes a method's steps; imports torch, which takes seconds."""
    module, _, name = method.detector.partition(":")
    detector: Detector = getattr(importlib.import_module(module), name)()
    return detector
