"""Recordings and logs, which may come from anywhere, are read as plain data."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from runner import read_records
from runner.errors import UsageError


class Planted:
    """Whoever unpickles it with Python's own pickle makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_plain_records_come_as_they_were_written(tmp_path):
    """Numbers, texts, lists, dicts, and what NumPy makes of them, by each protocol."""
    file = tmp_path / "path.pkl"
    records = [{"matrix": [1.0] * 16, "name": "é", "n": None, "ok": True, "big": 1 << 200}, {"t": (1, {2})}]
    more = [
        np.arange(6, dtype=">i2").reshape(2, 3).T,
        np.array(["é", "yes"]),
        np.empty((0, 3)),
        np.array([True]),
    ]
    arrays = {"matrix": np.eye(4), "x": np.float32(2.5), "n": np.int64(7), "more": more}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        file.write_bytes(b"".join(pickle.dumps(one, protocol) for one in records))
        assert read_records(file) == records
    for protocol in (4, 5):
        file.write_bytes(pickle.dumps(arrays, protocol))
        (found,) = read_records(file)
        assert np.array_equal(found["matrix"], np.eye(4)) and (found["x"], found["n"]) == (2.5, 7)
        assert all(
            np.array_equal(one, of) and one.dtype.kind == of.dtype.kind
            for one, of in zip(found["more"], more)
        )


def test_nothing_in_a_file_is_run(tmp_path):
    """What the file names is refused by its name, before it is called."""
    file, made = tmp_path / "path.pkl", tmp_path / "made"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        file.write_bytes(pickle.dumps({"matrix": 1}) + pickle.dumps({"matrix": Planted(made)}, protocol))
        with pytest.raises(UsageError, match=r"record 2 is refused: it names \w+\.open, which is not plain"):
            read_records(file)
    for code in (b"cos\nsystem\n(S'touch x'\ntR.", b"(S'ls'\nios\nsystem\n.", b"cnumpy\nload\n(S'x'\ntR."):
        file.write_bytes(code)
        with pytest.raises(UsageError, match="is not plain data"):
            read_records(file)
    assert not made.exists()


def code_of(value):
    """How a value stands within a pickle."""
    return pickle.dumps(value, 3)[2:-1]


OF_OBJECTS = b"cnumpy\ndtype\n" + code_of(("O8", False, True)) + b"R"
FRAME = b"cnumpy._core.numeric\n_frombuffer\n"
FLOATS = b"cnumpy\ndtype\n" + code_of(("f8", False, True)) + b"R"
ARRAY = (
    b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + code_of((1 << 40,)) + code_of(b"b") + b"tR"
)


@pytest.mark.parametrize(
    "code",
    [
        # Objects at addresses of the file's choice.
        FRAME + b"(" + code_of(b"A" * 8) + OF_OBJECTS + code_of((3, "|", None, None, None, -1, -1, 0)) + b"b"
        + code_of((1,)) + code_of("C") + b"tR",
        OF_OBJECTS,
        FLOATS + code_of((3, "|", None, ("x",), {"x": (1, 0)}, 8, 1, 0)) + b"b",
        # What NumPy's own function does by default, from then on.
        FRAME + code_of((None, {"__defaults__": (1, 2)})) + b"b",
        b"ccollections\nOrderedDict\n)R" + code_of({"keys": 1}) + b"b",
    ],
)  # fmt: skip
def test_no_array_is_made_of_what_is_not_numbers(tmp_path, code):
    """Nor is anything changed that is there already."""
    file = tmp_path / "path.pkl"
    file.write_bytes(b"\x80\x03" + code + b".")
    with pytest.raises(UsageError, match="which is not plain data"):
        read_records(file)


@pytest.mark.parametrize("shape", [(1 << 40,), (-1,), (-1, -1), (2, 1 << 62, 2), (1 << 63,), (1, 0)])
def test_an_array_is_as_large_as_its_bytes(tmp_path, shape):
    """A few bytes take no more memory than they are."""
    file = tmp_path / "path.pkl"
    state = code_of(1) + code_of(shape) + FLOATS + code_of(False) + code_of(b"A" * 8)
    file.write_bytes(b"\x80\x03" + ARRAY + b"(" + state + b"tb.")
    with pytest.raises(UsageError, match="record 1 cannot be read"):
        read_records(file)


@pytest.mark.parametrize(
    "content", [b"\x80\x04}r\xff\xff", b"no pickle", b"\x80\x04\x8d" + b"\xff" * 8, b"e."]
)
def test_a_file_of_something_else_is_said_to_be_so(tmp_path, content):
    """No traceback for what is torn or no file of records."""
    file = tmp_path / "path.pkl"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"path\.pkl is not a file of records, or is truncated: record 1"):
        read_records(file)
    with pytest.raises(UsageError, match="cannot read"):
        read_records(tmp_path / "gone.pkl")
