"""The detectors of adloc: what there is, and how it is reached. No torch is imported here."""

from adloc.methods.errors import MethodError
from adloc.methods.registry import METHODS, find_method, import_library, is_method, load_detector, offered

__all__ = ["METHODS", "MethodError", "find_method", "import_library", "is_method", "load_detector", "offered"]
