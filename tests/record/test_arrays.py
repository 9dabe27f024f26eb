"""The small arrays of a record: what NumPy wrote, as NumPy reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from adloc.record.arrays import read_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

KINDS = st.sampled_from([np.dtype(kind) for kind in ("uint32", "float32", "float64", ">i2", "bool", "U3")])
ARRAYS = KINDS.flatmap(
    lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)


@given(st.dictionaries(st.sampled_from(["normal", "defect", "regions"]), ARRAYS), st.booleans())
def test_arrays_are_what_numpy_reads(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, NDArray[np.generic]], fortran: bool
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "pixels.npz"
    kept = {name: np.asfortranarray(array) if fortran else array for name, array in arrays.items()}
    np.savez_compressed(path, allow_pickle=False, **kept)
    found = read_arrays(path)
    with np.load(path) as expected:
        assert list(found) == expected.files
        for name, array in found.items():
            assert array.dtype == expected[name].dtype
            np.testing.assert_array_equal(array, expected[name])


def test_a_header_of_another_version_is_read_too(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3)
    with ZipFile(tmp_path / "newer.npz", "w") as file, file.open("of.npy", "w") as member:
        np.lib.format.write_array(member, array, version=(2, 0))
    np.testing.assert_array_equal(read_arrays(tmp_path / "newer.npz")["of"], array)


def test_what_is_no_plain_array_is_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", found=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="OBJECT"):
        read_arrays(tmp_path / "objects.npz")
    (tmp_path / "damaged.npz").write_bytes((tmp_path / "objects.npz").read_bytes()[:-30])
    with pytest.raises(ValueError, match="damaged"):
        read_arrays(tmp_path / "damaged.npz")
