"""adloc: studies of industrial anomaly detection and localisation.

`import adloc` loads nothing; the names below are loaded when they are first used. See `adloc.api`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adloc.api import (
        Compared,
        Complaint,
        Heatmap,
        Heatmaps,
        Model,
        Store,
        Study,
        UserError,
        compare,
        examine,
        list_datasets,
        list_methods,
        load_model,
        schema,
    )

__version__ = "0.1.0"
__all__ = [
    "Compared",
    "Complaint",
    "Heatmap",
    "Heatmaps",
    "Model",
    "Store",
    "Study",
    "UserError",
    "__version__",
    "compare",
    "examine",
    "list_datasets",
    "list_methods",
    "load_model",
    "schema",
]


def __getattr__(name: str) -> object:
    """What is asked for, by the door to the library."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from adloc import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """For completion in an editor or a notebook."""
    return [*globals(), *__all__]
