"""What is asked by keyword arguments: brought into the form of the command line's, or refused as there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import wraps
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar, get_args

from adloc.datasets.errors import DatasetError
from adloc.errors import Complaint, UserError, nearest
from adloc.methods.errors import MethodError
from adloc.on_disk import require_on_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adloc.executors.computing import Computing

Device = Literal["auto", "cpu", "cuda"]
Executor = Literal["local", "ray"]
Overrides = Mapping[str, object]
Place = str | PathLike[str]
Asked = ParamSpec("Asked")
Found = TypeVar("Found")


def user_errors(verb: Callable[Asked, Found]) -> Callable[Asked, Found]:
    """Raise whatever a user can mend as a UserError, which a notebook shows without a traceback."""

    @wraps(verb)
    def wrapped(*args: Asked.args, **kwargs: Asked.kwargs) -> Found:
        try:
            return verb(*args, **kwargs)
        except DatasetError as error:
            raise UserError(*(Complaint(p.found, p.rule, p.remedy) for p in error.problems)) from None
        except MethodError as error:
            raise UserError(Complaint(error.found, error.rule, error.remedy)) from None

    return wrapped


def as_overrides(asked: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    """Overrides as `--set` takes them: each value in JSON, which is YAML; such texts themselves are left as they are.

    Example:
        >>> as_overrides({"image.size": 128, "regimes": ["clean"]})
        ('image.size=128', 'regimes=["clean"]')

    Raises:
        UserError: a value that no study file can hold.
    """
    if not isinstance(asked, Mapping):
        return (asked,) if isinstance(asked, str) else tuple(asked)
    return tuple(f"{key}={_as_yaml(key, value)}" for key, value in asked.items())


def path_of(given: Place) -> Path:
    """Of a file or folder beside the workspace.

    Raises:
        UserError: it is a URL.
    """
    return require_on_disk(Path(given))


def output_path(given: Place | None) -> Path | None:
    """Where to write; None where that is not said.

    Raises:
        UserError: it is a URL.
    """
    return None if given is None else path_of(given)


def computing(executor: Executor, device: Device, jobs: int | None, batch_size: int | None) -> Computing:
    """How a study is to be computed.

    Raises:
        UserError: no such executor or device, or no stage or image at a time.
    """
    from adloc.executors.computing import Computing

    require_choice("executor", executor, get_args(Executor))
    require_choice("device", device, get_args(Device))
    for name, value in (("jobs", jobs), ("batch_size", batch_size)):
        if value is not None:
            require_count(name, value)
    return Computing(executor, device, jobs, batch_size)


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices.

    Raises:
        UserError: it is none.
    """
    if value not in choices:
        rule = f"it must be one of {', '.join(choices)}"
        raise UserError(Complaint(f"{name} is {value!r}", rule, nearest(str(value), choices)))


def require_count(name: str, value: int) -> None:
    """Refuse what is below 1.

    Raises:
        UserError: it is.
    """
    if value < 1:
        raise UserError(Complaint(f"{name} is {value}", "it must be at least 1", "use 1, or leave it out"))


def require_share(name: str, value: float, *, below: float = 1.0) -> None:
    """Refuse what is not above 0 and below a bound.

    Raises:
        UserError: it is not.
    """
    if not 0 < value < below:
        raise UserError(Complaint(f"{name} is {value}", f"it must be above 0 and below {below:g}", "it is a share"))


def _as_yaml(key: str, value: object) -> str:
    try:
        return json.dumps(value, default=_plain)
    except (TypeError, ValueError):
        raise UserError(
            Complaint(
                f"set: {key} is a {type(value).__name__}",
                "a value of a study file is a number, a text, true or false, a list or a mapping",
                'write for example set={"image.size": 128, "regimes": ["clean"]}',
            )
        ) from None


def _plain(value: object) -> object:
    """Of a path its text, of a NumPy number the number."""
    if isinstance(value, PathLike):
        return fspath(value)
    if callable(item := getattr(value, "item", None)):
        return item()
    raise TypeError
