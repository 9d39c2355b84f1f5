import json
import random
import time
import tracemalloc
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from unmask.checkpoint.tensors import read_tensors, write_tensors
from unmask.errors import CheckpointError

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.uint16, torch.uint32,
    torch.uint64, torch.float8_e4m3fn,
]  # fmt: skip


def some_tensors():
    return {
        "a.weight": torch.randn(3, 4),
        "a.bias": torch.randn(5).bfloat16(),
        "steps": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False, True]),
    }


def equal(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a
    )


def raw(header, data=b"", *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape: list[Any], first: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, end]}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_number_type_comes_back(tmp_path, dtype):
    tensors = {"x": torch.arange(6).reshape(2, 3).to(dtype), "y": torch.ones((), dtype=dtype)}
    write_tensors(tmp_path / "a", tensors, {"note": "x"})
    found, metadata = read_tensors(tmp_path / "a")
    assert equal({k: v.view(torch.uint8) if v.ndim else v.reshape(1).view(torch.uint8)
                  for k, v in found.items()},
                 {k: v.view(torch.uint8) if v.ndim else v.reshape(1).view(torch.uint8)
                  for k, v in tensors.items()})  # fmt: skip
    assert found["x"].dtype == dtype
    assert metadata["note"] == "x"


def test_other_programs_read_the_file(tmp_path):
    tensors = some_tensors()
    write_tensors(tmp_path / "a.safetensors", tensors, {"card": '{"xxh3":"' + "0" * 32 + '"}'})
    assert equal(load_file(tmp_path / "a.safetensors"), tensors)


def test_files_of_other_programs_are_read(tmp_path):
    tensors = some_tensors()
    save_file(tensors, tmp_path / "a.safetensors")
    assert equal(read_tensors(tmp_path / "a.safetensors", digest=False)[0], tensors)


def test_strided_and_shared_tensors(tmp_path):
    base = torch.randn(4, 6)
    tensors = {"turned": base.T, "part": base[1:3, ::2], "same": base}
    write_tensors(tmp_path / "a", tensors, {})
    assert equal(read_tensors(tmp_path / "a")[0], tensors)


def test_each_flipped_bit_is_noticed(tmp_path):
    """Row 7 of docs/reliability.md: every bit of a small file, header and data."""
    path = tmp_path / "a"
    tensors = {"w": torch.randn(2), "n": torch.tensor(7, dtype=torch.int16)}
    write_tensors(path, tensors, {"unmask": '{"step":3}'})
    content = path.read_bytes()
    for place in range(8 * len(content)):
        wrong = bytearray(content)
        wrong[place // 8] ^= 1 << place % 8
        path.write_bytes(wrong)
        with pytest.raises(CheckpointError, match="expected"):
            read_tensors(path)


def test_each_truncation_is_noticed(tmp_path):
    path = tmp_path / "cut.safetensors"
    write_tensors(path, some_tensors(), {})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
            read_tensors(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError):
        read_tensors(path)


HOSTILE = {
    "header of 2^63": raw(b"{}", length=2**63),
    "header longer than file": raw(b"{}", length=100),
    "duplicate keys": raw(
        b'{"a":%s,"a":%s}' % ((json.dumps(entry([1], 0, 4)).encode(),) * 2), b"1234"
    ),
    "duplicate fields": raw(
        b'{"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}}', b"1234"
    ),
    "overlap": raw({"a": entry([2], 0, 8), "b": entry([1], 4, 8)}, b"12345678"),
    "gap": raw({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, b"123456789012"),
    "uncovered": raw({"a": entry([1], 0, 4)}, b"12345678"),
    "negative shape": raw({"a": entry([-1, -1], 0, 4)}, b"1234"),
    "product overflow": raw({"a": entry([2**32, 2**32, 2], 0, 0)}),
    "end before start": raw({"a": entry([1], 4, 0)}, b"1234"),
    "offset outside": raw({"a": entry([2**40], 0, 2**42)}, b"1234"),
    "size and shape differ": raw({"a": entry([3], 0, 4)}, b"1234"),
    "fractional shape": raw({"a": entry([1.0], 0, 4)}, b"1234"),
    "boolean shape": raw({"a": entry([True], 0, 4)}, b"1234"),
    "unknown dtype": raw({"a": entry([1], 0, 4, "X9")}, b"1234"),
    "dtype is a list": raw({"a": entry([1], 0, 4) | {"dtype": ["F32"]}}, b"1234"),
    "three offsets": raw({"a": entry([1], 0, 4) | {"data_offsets": [0, 2, 4]}}, b"1234"),
    "extra field": raw({"a": entry([1], 0, 4) | {"code": "x"}}, b"1234"),
    "many axes": raw({"a": entry([1] * 1000, 0, 4)}, b"1234"),
    "deep nesting": raw(b"[" * 200_000),
    "a list": raw(b"[]"),
    "not JSON": raw(b"hello"),
    "not UTF-8": raw(b'{"\xff\xfe":1}'),
    "metadata of numbers": raw({"__metadata__": {"a": 1}}),
    "metadata a list": raw({"__metadata__": []}),
    "huge integer": raw(b'{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}}' % (b"9" * 9000)),
    "too many tensors": raw({f"{i}": entry([0], 0, 0) for i in range(100_001)}),
    "big header": raw(b" " * 10_000_001),
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_refused_at_once(tmp_path, content):
    """Row 11 of docs/reliability.md: in under a second and 200 MB."""
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    began = time.process_time()
    with pytest.raises(CheckpointError, match=r"hostile\.safetensors"):
        read_tensors(path, digest=False)
    assert time.process_time() - began < 1
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        read_tensors(path, digest=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_huge_claimed_header_is_not_read(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write((200 << 20).to_bytes(8, "little"))
        file.truncate(300 << 20)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="claim a header"):
        read_tensors(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


@settings(max_examples=150)
@given(st.data())
def test_arbitrary_damage_is_never_another_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "a"
    write_tensors(path, {"w": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2)}, {"k": "v"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    try:
        found, _ = read_tensors(path)
    except CheckpointError:
        return
    assert torch.equal(found["w"], torch.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad, dtype):
    weight = torch.zeros(1000, dtype=dtype)
    weight[random.Random(0).randrange(1000)] = bad
    with pytest.raises(CheckpointError, match=r"head\.weight.*finite"):
        write_tensors(tmp_path / "a", {"head.weight": weight}, {})


def test_tensors_the_format_lacks_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="complex128"):
        write_tensors(tmp_path / "a", {"x": torch.zeros(1, dtype=torch.complex128)}, {})
    with pytest.raises(CheckpointError, match="__metadata__"):
        write_tensors(tmp_path / "a", {"__metadata__": torch.zeros(1)}, {})


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        read_tensors(tmp_path / "nowhere")


def test_unaligned_tensors_are_read(tmp_path):
    header = {"a": entry([1], 0, 1, "U8"), "b": entry([2], 1, 9)}
    path = tmp_path / "a"
    path.write_bytes(raw(header, b"\x05" + b"\0\0\x80\x3f\0\0\0\x40"))
    found, _ = read_tensors(path, digest=False)
    assert found["b"].tolist() == [1.0, 2.0]
