"""Weights, exported models and what is asked of them: told before anything is computed, and never waited for."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adloc.methods.errors import MethodError
from adloc.methods.weights import Pass, load_weights, read_state_dict
from commandline import call
from exported import draw, reseal, write_model
from faults.told import refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn


class Order:
    """What a pickle of it would do when it is read."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        """Ask the system to make a file."""
        return os.system, ("touch obeyed",)


def tensors() -> dict[str, Tensor]:
    """Of the network below."""
    import torch

    return {"0.weight": torch.ones(2, 3, 1, 1), "0.bias": torch.zeros(2)}


def network() -> nn.Module:
    """Of one layer."""
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 2, 1))


def saved(path: Path) -> bytes:
    """The tensors as safetensors."""
    from safetensors.torch import save_file as save_tensors

    save_tensors(tensors(), path)
    return path.read_bytes()


def no_states() -> dict[str, tuple[object, str]]:
    """What torch.save writes that is no state dict of the network, and what is said of it."""
    import torch

    good = tensors()
    bias = good["0.bias"]
    return {
        "an order": ({"a": Order()}, "does not load"),
        "a list": ([1], "not a state dict"),
        "nothing": (None, "not a state dict"),
        "a tensor": (bias, "not a state dict"),
        "tensors further in": ({"state_dict": good}, "not a state dict"),
        "numbers": ({"0.weight": 1}, "not a state dict"),
        "no tensors": ({}, "lacks 0.weight"),
        "tensors of a wrapper": (
            {f"module.{name}": value for name, value in good.items()},
            "the network has no module.0",
        ),
        "a part": ({"0.bias": bias}, "lacks 0.weight"),
        "one more": (good | {"0.scale": bias}, "the network has no 0.scale"),
        "another shape": (good | {"0.weight": torch.ones(2, 3, 3, 3)}, "0.weight has shape (2, 3, 3, 3)"),
        "no number": (good | {"0.bias": bias * torch.nan}, "0.bias has values that are not a number, or infinite"),
        "infinity": (good | {"0.bias": bias + torch.inf}, "0.bias has values that are not a number, or infinite"),
        "whole numbers": (good | {"0.bias": bias.to(torch.int8)}, "0.bias is torch.int8"),
        "complex numbers": (good | {"0.bias": bias.to(torch.complex64)}, "0.bias is torch.complex64"),
        "shapes alone": (good | {"0.bias": bias.to("meta")}, "0.bias is torch.float32 (torch.strided, meta)"),
        "sparse numbers": (good | {"0.bias": bias.to_sparse()}, "0.bias is torch.float32 (torch.sparse_coo"),
    }


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_weights_of_something_else_are_told(
    tmp_path: Path, caused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file, and the tensor; nothing in a file is obeyed."""
    import torch

    monkeypatch.chdir(tmp_path)
    for what, (state, words) in no_states().items():
        path = tmp_path / "w.pth"
        torch.save(state, path)
        with pytest.raises(MethodError) as told:
            load_weights(network(), read_state_dict(path), path, lambda: Pass(frozenset({"", "0"}), finite=False))
        assert f"weights {path}: {words}" in told.value.found, what
        assert told.value.rule, what
        assert told.value.remedy, what
        caused("weights and models that are wrong")
    assert not (tmp_path / "obeyed").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_weights_that_do_not_load_are_told(
    tmp_path: Path, caused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of nothing, of text, of half of it, with a head that lies."""
    monkeypatch.chdir(tmp_path)
    content = saved(tmp_path / "w.safetensors")
    damaged = {
        "safetensors": (b"", b"<html>", content[:-3], content[: len(content) // 2], bytes(len(content)),
                        struct.pack("<Q", 2**60) + content[8:], struct.pack("<Q", 10) + b"[" * 10,
                        content.replace(b'"F32"', b'"F99"')),
        "pth": (b"", b"hello", b"<html>", bytes(1000), content, pickle.dumps(Order(), 2),
                pickle.dumps({"a": 1}, 2)[:-3]),
    }  # fmt: skip
    for suffix, contents in damaged.items():
        path = tmp_path / f"w.{suffix}"
        for each in contents:
            path.write_bytes(each)
            with pytest.raises(MethodError, match="does not load"):
                read_state_dict(path)
            caused("weights and models that are wrong")
    assert not (tmp_path / "obeyed").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole one; to read only."""
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that it scores."""
    return draw(tmp_path_factory.mktemp("photos") / "a.png")


def half(path: Path) -> None:
    """A file that ends early."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeros(path: Path) -> None:
    """A file as a machine leaves it that lost its power."""
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    """One bit of it."""
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 16
    path.write_bytes(content)


def nothing(path: Path) -> None:
    """No bytes."""
    path.write_bytes(b"")


def text(path: Path) -> None:
    """JSON of something else."""
    path.write_text("[1, 2]")


def gone(path: Path) -> None:
    """No file."""
    path.unlink()


def folder(path: Path) -> None:
    """A folder of its name."""
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [half, zeros, flipped, nothing, text, gone, folder, pipe])
def test_damaged_model_is_told(
    model: Path, photo: Path, tmp_path: Path, caused: Callable[..., None], damage: Callable[[Path], None]
) -> None:
    """Whichever of its files it is: it is named, no image is scored and the self-test is not asked."""
    names = sorted(path.name for path in model.iterdir())
    assert len(names) == 4  # model.json, the fit, the reference scores, the self-test
    for name in names:
        copy = tmp_path / name.partition(".")[0]
        shutil.copytree(model, copy)
        damage(copy / name)
        # of model.json that is gone the folder is named
        words = str(copy) if name == "model.json" else str(copy / name)
        refused(call("predict", copy, photo), words)
        refused(call("model", "check", copy), words)
        caused("weights and models that are wrong")


def kept(name: str, **arrays: NDArray[Any] | None) -> Callable[[Path], None]:
    """A file of arrays has these in the place of its own; None: without it."""

    def spoil(model: Path) -> None:
        path = next(model.glob(name))
        found = {**load_file(path), **arrays}
        save_file({each: array for each, array in found.items() if array is not None}, path)

    return spoil


def in_bfloat16(model: Path) -> None:
    """A type of torch's."""
    import torch
    from safetensors.torch import save_file as save_tensors

    save_tensors({"scores": torch.zeros(4, dtype=torch.bfloat16)}, next(model.glob("reference-*")))


def infinite(model: Path) -> None:
    """A number that JSON has no word for."""
    path = model / "model.json"
    path.write_text(path.read_text().replace('"smoothing_sigma": 0.0', '"smoothing_sigma": 1e999'))


LIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "reference without an array": (kept("reference-*", statistics=None), "lacks statistics"),
    "scores of another type": (kept("reference-*", scores=np.zeros(4)), "lacks scores"),
    "scores of another shape": (kept("reference-*", scores=np.zeros((4, 1), np.float32)), "does not have a score"),
    "fewer labels than scores": (kept("reference-*", labels=np.zeros(3, np.bool_)), "does not have a score"),
    "more statistics than scores": (kept("reference-*", statistics=np.zeros((9, 2))), "does not have a score"),
    "one statistic for all": (kept("reference-*", statistics=np.array(1.0)), "does not have a score"),
    "scores of a type that numpy lacks": (in_bfloat16, "reference-"),  # or knows, where a library has taught it
    "hashes that are no list": (kept("arrays.*", fitted_on=np.zeros(8, np.uint8)), "fitted_on is no list of hashes"),
    "step without an array": (kept("arrays.*", **{"mean_image/mean": None}), "lacks mean"),
    "setting that is infinite": (infinite, "a value in it is not the one that was written"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), LIES.values(), ids=LIES)
def test_model_of_somebody_who_means_harm_is_told(
    model: Path, photo: Path, tmp_path: Path, caused: Callable[..., None], spoil: Callable[[Path], None], words: str
) -> None:
    """Its hashes are right, and what they are of is not."""
    copy = shutil.copytree(model, tmp_path / "m")
    spoil(copy)
    with suppress(ValueError):  # of what has no hash
        reseal(copy)
    refused(call("predict", copy, photo), words)
    caused("weights and models that are wrong")


REQUESTS: dict[str, tuple[list[str], str]] = {
    "model that is not there": (["predict", "{there}/none", "{photo}"], "no such folder"),
    "image for a model": (["predict", "{photo}", "{photo}"], "no such folder"),
    "no image": (["predict", "{model}"], "no image is named"),
    "folder without images": (["predict", "{model}", "{there}"], "no png, jpg, bmp, tif, webp or jp2 file in it"),
    "rows into a folder": (["predict", "{model}", "{photo}", "--output", "{there}"], "--output is"),
    "rows into no folder": (["predict", "{model}", "{photo}", "--output", "{there}/x/y.csv"], "folder is not there"),
    "rows of no format": (["predict", "{model}", "{photo}", "--output", "{there}/x.doc"], "--output is"),
    "maps into a file": (["predict", "{model}", "{photo}", "--heatmaps", "{photo}"], "--heatmaps is"),
    "calibrated on nothing": (["model", "calibrate", "{model}", "{there}/none"], "1 of 1 images are broken"),
    "drift of no file": (["model", "drift", "{model}", "{there}/none.csv"], "none.csv"),
    "drift of an image": (["model", "drift", "{model}", "{photo}"], "a.png"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "words"), REQUESTS.values(), ids=REQUESTS)
def test_request_that_cannot_be_met_is_told(
    model: Path, photo: Path, tmp_path: Path, caused: Callable[..., None], request_: list[str], words: str
) -> None:
    """Before an image is scored."""
    there = tmp_path / "there"
    there.mkdir()
    arguments = [each.format(there=there, photo=photo, model=model) for each in request_]
    refused(call(*arguments), words)
    caused("weights and models that are wrong")


ROWS = {
    "no bytes": b"",
    "NUL": b"\0\n",
    "text": b"hello",
    "latin-1": b"path,score\n\xff,1\n",
    "word for a score": b"path,score\nx,y\n",
    "no number": b"path,score,anomalous,threshold,error\na,nan,0,0,\n",
    "infinity": b"path,score,anomalous,threshold,error\na,inf,0,0,\n",
}


@pytest.mark.parametrize("content", ROWS.values(), ids=ROWS)
def test_rows_that_are_none_are_told(model: Path, tmp_path: Path, caused: Callable[..., None], content: bytes) -> None:
    """By `adloc model drift`, which reads what `adloc predict` has written."""
    rows = tmp_path / "rows.csv"
    rows.write_bytes(content)
    refused(call("model", "drift", model, rows), "rows.csv")
    caused("weights and models that are wrong")


def test_folder_of_odd_files_is_scored(model: Path, tmp_path: Path, caused: Callable[..., None]) -> None:
    """Of eight files the four that are images are scored, each of the others is a row with its error; exit code 3."""
    folder_ = tmp_path / "odd"
    for name in ("a.png", "=cmd.png", "a\nb.png", "x" * 250 + ".png"):
        draw(folder_ / name)
    os.mkfifo(folder_ / "pipe.png")
    (folder_ / "device.png").symlink_to("/dev/zero")
    (folder_ / "loop.png").symlink_to("loop.png")
    (folder_ / "text.png").write_text("x")
    out = tmp_path / "rows.jsonl"
    options = ["--output", out, "--heatmaps", tmp_path / "maps", "--report", tmp_path / "page.html"]
    result = call("predict", model, folder_, *options)
    assert result.exit_code == 3, result.output
    rows = out.read_text(encoding="utf-8").splitlines()
    assert sum('"error": null' in row for row in rows) == 4, rows
    assert len(rows) == 8
    caused("weights and models that are wrong", 4)
