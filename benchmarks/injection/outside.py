"""Files that would run code or read other files: nothing runs, nothing is read.

Each file is given to the verbs that take it. Code leaves a mark (an empty file) if it runs; pixels
of a secret file are known if they come back.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from injection.bombs_model import SMALL, write_model
from injection.forks import Limits, start_command
from injection.trial import Part, Trial, Verdict

_LIMITS = Limits(seconds=200, cpu=60, memory=None)
# Fields of a recipe that name a component.
_NAMED = {
    "normalizer": ("data", "normalize"),
    "backbone": ("model", "backbone"),
    "decoder": ("model", "decoder"),
    "task": ("task",),
    "augmentation": ("data", "augment", 0),
    "optimizer": ("train", "optimizer"),
    "method": ("method",),
}
_SECRET = 199


class _Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


def prepare(at: Path, tiny: bool) -> None:  # noqa: ARG001, FBT001 - as all parts
    """An image, a model, and a secret."""
    from unmask.phantoms.cells import write_set

    write_set(at, "nuclei", shape=(48, 40), count=2, seed=1)
    write_model(at / "good.safetensors", json.dumps({"recipe": SMALL}))
    (at / "secret").mkdir()
    (at / "secret" / "bytes").write_bytes(bytes([_SECRET]) * 4096)


def trials(at: Path, tiny: bool) -> list[Trial]:  # noqa: FBT001 - as all parts
    """Every component by every verb that loads a model; pickles; links out of a file."""
    found = []
    verbs = ("predict",) if tiny else ("predict", "cluster", "train --init", "models")
    for field in _NAMED:
        for verb in verbs:
            run = partial(_card, at, field, verb)
            found.append(Trial(f"{verb}: {field}", "model card that names code", run, _LIMITS))
    found += [
        Trial(name, "pickles and YAML tags", partial(_pickle, at, name), _LIMITS)
        for name in _PICKLES
    ]
    found += [
        Trial(name, "HDF5, Zarr and TIFF that read outside", partial(_outside, at, name), _LIMITS)
        for name in _LINKS
    ]
    return found


def _card(at: Path, field: str, verb: str) -> dict[str, Any]:
    folder = _fresh(at, f"{field}-{verb.split()[0]}")
    mark, evil = folder / "mark", folder / "evil.py"
    evil.write_text(f"open({str(mark)!r}, 'w')\nclass T:\n    def __init__(self, **_): ...\n")
    recipe: Any = json.loads(json.dumps(SMALL))
    recipe["data"]["augment"] = [{"name": "flip"}]
    *path, last = _NAMED[field]
    place = recipe
    for key in path:
        place = place[key]
    if field == "method":
        del recipe["task"]
    place[last] = {"name": f"{evil}:T"}
    model = folder / "model.safetensors"
    write_model(model, json.dumps({"recipe": recipe}))
    images = ["--images", at / "images", "--labels", at / "labels"]
    arguments: dict[str, list[object]] = {
        "predict": ["predict", at / "images", "--model", model, "--out", folder / "out"],
        "cluster": ["cluster", at / "images", "--model", model, "--classes", "2", "--out",
                    folder / "out"],
        "train --init": ["train", "--preset", "semantic2d", *images, "--init", model, "--out",
                         folder / "out", "--set", "train.steps=1", "--set", "task.classes=2",
                         "--set", "data.crop=[32, 32]", "--set", "train.batch_size=1",
                         "--set", "data.channels=1",
                         "--set", "model.backbone={name: resunet, width: 4, depth: 3}"],
        "models": ["models"],
    }  # fmt: skip
    return _verdict("model card that names code", arguments[verb], mark, folder)


def _pickle(at: Path, name: str) -> dict[str, Any]:
    folder = _fresh(at, name.replace(" ", "_"))
    mark = folder / "mark"
    arguments = _PICKLES[name](folder, mark, at)
    return _verdict("pickles and YAML tags", arguments, mark, folder)


def _verdict(group: str, arguments: list[object], mark: Path, folder: Path) -> dict[str, Any]:
    log = folder / "log"
    pid = start_command(arguments, log)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = log.read_text(errors="replace")
    detail = f"{code}: {text}"
    if mark.exists():
        verdict = "executed"
    elif "Traceback" in text or code not in {0, 2}:
        verdict = "traceback"
    else:
        verdict = "nothing" if code == 0 else "refused"
    return Verdict(group, verdict, detail).json()


def _pth(folder: Path, mark: Path, _: Path) -> list[object]:
    import torch

    torch.save({"state_dict": _Payload(mark)}, folder / "a.pth")
    return ["convert", folder / "a.pth", "--source", "mae", "--out", folder / "b.safetensors"]


def _old_pth(folder: Path, mark: Path, _: Path) -> list[object]:
    (folder / "a.pth").write_bytes(pickle.dumps(_Payload(mark)))
    return ["convert", folder / "a.pth", "--source", "mediar", "--out", folder / "b.safetensors"]


def _zip_pth(folder: Path, mark: Path, _: Path) -> list[object]:
    with zipfile.ZipFile(folder / "a.pt", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(_Payload(mark)))
        file.writestr("archive/version", "3")
    return ["convert", folder / "a.pt", "--source", "spark", "--out", folder / "b.safetensors"]


def _model_is_pth(folder: Path, mark: Path, at: Path) -> list[object]:
    import torch

    torch.save({"model": _Payload(mark)}, folder / "model.safetensors")
    where = ["--model", folder / "model.safetensors", "--out", folder / "out"]
    return ["predict", at / "images", *where]


def _npy(folder: Path, mark: Path, at: Path) -> list[object]:
    np.save(folder / "a.npy", np.array([_Payload(mark)], dtype=object), allow_pickle=True)
    where = ["--model", at / "good.safetensors", "--out", folder / "out"]
    return ["predict", folder / "a.npy", *where]


def _seg_npy(folder: Path, mark: Path, at: Path) -> list[object]:
    data = np.array({"masks": np.ones((48, 40)), "evil": _Payload(mark)}, dtype=object)
    shutil.copytree(at / "images", folder / "images")
    np.save(folder / "images" / "nuclei_000_seg.npy", data, allow_pickle=True)
    return ["check", folder / "images"]


def _yaml(folder: Path, mark: Path, at: Path) -> list[object]:
    text = f"name: !!python/object/apply:os.system ['touch {mark}']\ndata: {{crop: [32, 32]}}\n"
    (folder / "a.yaml").write_text(text)
    where = ["--images", at / "images", "--labels", at / "labels", "--out", folder / "out"]
    return ["train", "--recipe", folder / "a.yaml", *where]


def _yaml_setting(folder: Path, mark: Path, at: Path) -> list[object]:
    where = ["--images", at / "images", "--labels", at / "labels", "--out", folder / "out"]
    tag = f"train.lr=!!python/object/apply:os.system ['touch {mark}']"
    return ["train", "--preset", "cells", *where, "--set", tag]


def _names(folder: Path, mark: Path, at: Path) -> list[object]:
    text = f"cells: !!python/object/apply:os.system ['touch {mark}']\n"
    (folder / "names.yaml").write_text(text)
    where = ["--model", at / "good.safetensors", "--out", folder / "out", "--classes", "2"]
    return ["cluster", at / "images", *where, "--names", folder / "names.yaml"]


_PICKLES: dict[str, Callable[[Path, Path, Path], list[object]]] = {
    "convert a pickle in a zip of PyTorch": _pth,
    "convert a plain pickle": _old_pth,
    "convert a made-up zip": _zip_pth,
    "predict with a pickle as model": _model_is_pth,
    "predict an array of objects": _npy,
    "check a folder with a Cellpose file": _seg_npy,
    "train with a tagged recipe": _yaml,
    "train with a tagged setting": _yaml_setting,
    "cluster with tagged names": _names,
}


def _outside(at: Path, name: str) -> dict[str, Any]:
    from unmask.errors import UnmaskError
    from unmask.io import open_image

    folder = _fresh(at, name.replace(" ", "_"))
    path = _LINKS[name](folder, at / "secret" / "bytes")
    group = "HDF5, Zarr and TIFF that read outside"
    try:
        values = open_image(path, ndim=2).read()
    except UnmaskError as error:
        return Verdict(group, "refused", str(error)).json()
    leaked = bool((values == _SECRET).any())
    return Verdict(group, "leaked" if leaked else "nothing", f"{path}").json()


def _external_storage(folder: Path, secret: Path) -> Path:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("data", (64, 64), "u1", external=[(str(secret), 0, 4096)])
    return folder / "a.h5"


def _secret_hdf5(secret: Path) -> Path:
    import h5py

    path = secret.with_name(f"{os.getpid()}.h5")
    with h5py.File(path, "w") as file:
        file["data"] = np.full((64, 64), _SECRET, np.uint8)
    return path


def _external_link(folder: Path, secret: Path) -> Path:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file["data"] = h5py.ExternalLink(str(_secret_hdf5(secret)), "/data")
    return folder / "a.h5"


def _linked_group(folder: Path, secret: Path) -> Path:
    import h5py

    with h5py.File(folder / "a.h5", "w") as file:
        file["group"] = h5py.ExternalLink(str(_secret_hdf5(secret)), "/")
    return Path(f"{folder / 'a.h5'}:group/data")


def _virtual(folder: Path, secret: Path) -> Path:
    import h5py

    layout = h5py.VirtualLayout((64, 64), "u1")
    layout[...] = h5py.VirtualSource(str(_secret_hdf5(secret)), "data", (64, 64))
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    return folder / "a.h5"


def _array(folder: Path) -> None:
    meta = {
        "zarr_format": 2, "shape": [64, 64], "chunks": [64, 64], "dtype": "|u1",
        "compressor": None, "fill_value": 0, "filters": None, "order": "C",
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".zarray").write_text(json.dumps(meta))


def _linked_chunk(folder: Path, secret: Path) -> Path:
    _array(folder / "a.zarr")
    (folder / "a.zarr" / "0.0").symlink_to(secret)
    return folder / "a.zarr"


def _linked_array(folder: Path, secret: Path) -> Path:
    _secret_array(folder, secret)
    (folder / "a.zarr").mkdir()
    _multiscale(folder / "a.zarr", "0")
    (folder / "a.zarr" / "0").symlink_to(folder / "elsewhere")
    return folder / "a.zarr"


def _linked_folder(folder: Path, secret: Path) -> Path:
    """Zarr 3: the folder of chunks is a link."""
    meta = {
        "zarr_format": 3, "node_type": "array", "shape": [64, 64], "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0, "codecs": [{"name": "bytes"}], "attributes": {},
    }  # fmt: skip
    (folder / "a.zarr").mkdir()
    (folder / "a.zarr" / "zarr.json").write_text(json.dumps(meta))
    (folder / "elsewhere" / "0").mkdir(parents=True)
    shutil.copy(secret, folder / "elsewhere" / "0" / "0")
    (folder / "a.zarr" / "c").symlink_to(folder / "elsewhere")
    return folder / "a.zarr"


def _secret_array(folder: Path, secret: Path) -> None:
    _array(folder / "elsewhere")
    shutil.copy(secret, folder / "elsewhere" / "0.0")


def _multiscale(folder: Path, path: str) -> None:
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    scale = {"version": "0.4", "axes": ["y", "x"], "datasets": [{"path": path}]}
    (folder / ".zattrs").write_text(json.dumps({"multiscales": [scale]}))


def _parent(folder: Path, secret: Path) -> Path:
    _secret_array(folder, secret)
    (folder / "a.zarr").mkdir()
    _multiscale(folder / "a.zarr", "../elsewhere")
    return folder / "a.zarr"


def _absolute(folder: Path, secret: Path) -> Path:
    _secret_array(folder, secret)
    (folder / "a.zarr").mkdir()
    _multiscale(folder / "a.zarr", str(folder / "elsewhere"))
    return folder / "a.zarr"


def _partner(folder: Path, secret: Path) -> Path:
    """A multi-file OME-TIFF whose partner lies elsewhere."""
    import tifffile

    pixels = np.frombuffer(secret.read_bytes(), np.uint8).reshape(64, 64)
    (folder / "elsewhere").mkdir()
    tifffile.imwrite(folder / "elsewhere" / "b.ome.tif", pixels, metadata=None)
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="64" SizeY="64" SizeZ="1" '
        'SizeC="1" SizeT="1"><Channel ID="C:0" SamplesPerPixel="1"/><TiffData IFD="0" '
        'PlaneCount="1"><UUID FileName="../elsewhere/b.ome.tif">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    (folder / "here").mkdir()
    path = folder / "here" / "a.ome.tif"
    zeros = np.zeros((64, 64), np.uint8)
    tifffile.imwrite(path, zeros, description=text, metadata=None)
    return path


_LINKS: dict[str, Callable[[Path, Path], Path]] = {
    "HDF5 external storage": _external_storage,
    "HDF5 external link": _external_link,
    "HDF5 external group": _linked_group,
    "HDF5 virtual data set": _virtual,
    "Zarr chunk that is a link": _linked_chunk,
    "Zarr array that is a link": _linked_array,
    "Zarr folder of chunks that is a link": _linked_folder,
    "Zarr path with two dots": _parent,
    "Zarr absolute path": _absolute,
    "OME-TIFF partner elsewhere": _partner,
}


def _fresh(at: Path, name: str) -> Path:
    folder = at / "trials" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


PART = Part("outside", prepare, trials)
