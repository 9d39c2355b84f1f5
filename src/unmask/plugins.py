"""Parts from Python files: ``path/to/file.py:Name``, on disk or inside a model file.

A name that a user writes runs the file on disk. A name inside a model file runs nothing until
``admit`` has accepted it: a model file is data, and may come from anyone. Accepted names carry the
start of the digest of their source, ``file.py#<digest>:Name``, so that the source inside the model
is used from any folder, and never that of another model or of a file on disk that has changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from unmask.errors import CheckpointError, RecipeError, message

_NAME = re.compile(
    r"(?P<file>.+\.py)(?:#(?P<digest>[0-9a-f]{16}))?:(?P<attribute>[^\W\d]\w*)", re.DOTALL
)
# The first characters of a digest tell the sources of one process apart.
_SHORT = 16
_MAX_BYTES = 1_000_000
# Text for people, at the top of a recipe; nothing is built from it.
_PROSE = {("name",), ("description",)}
# Parts of a training and of the files of one machine, which a finished model does without.
_NOT_THE_MODEL = {("data", "formats"), ("train", "metrics"), ("train", "trackers")}


@dataclass(frozen=True)
class Code:
    """The source of a user's file.

    Attributes:
        file: path as the recipe names it.
        source: text.
    """

    file: str
    source: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.source.encode("utf-8", "surrogatepass")).hexdigest()


# Sources that a user has allowed, by the start of their digest.
_ADMITTED: dict[str, Code] = {}
# Sources that ran in this process, by their path.
_RAN: dict[str, Code] = {}
_MODULES: dict[tuple[str, str], ModuleType] = {}


def is_file_name(name: str) -> bool:
    """Whether ``name`` is ``file.py:Name``.

    Examples:
        >>> is_file_name("parts/ridges.py:Ridges"), is_file_name("unet")
        (True, False)
    """
    return _NAME.fullmatch(name) is not None


def load_part(name: str, kind: str) -> Any:
    """Run the file of ``file.py:Name`` and return ``Name``.

    Args:
        name: a name that a user wrote, or one that ``admit`` made.
        kind: field of the recipe, for messages.

    Raises:
        RecipeError: no such file or name, source that was not allowed, or the file cannot be run.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise RecipeError(
            message(
                f"{kind}={name!r}",
                expected="path/to/file.py:Name",
                found="another form of name",
                do="Give a .py file and the name of a class or function in it.",
            )
        )
    file, digest, attribute = match["file"], match["digest"], match["attribute"]
    code = _read_code(file, f"{kind}={name!r}") if digest is None else _ADMITTED.get(digest)
    if code is None:
        raise RecipeError(
            message(
                f"{kind}={name!r}",
                expected="source that was allowed with --allow-code",
                found="none",
                do="Write the path of the file without the digest.",
            )
        )
    module = _run(code, inside=digest is not None, label=f"{kind}={name!r}")
    if not hasattr(module, attribute):
        raise RecipeError(
            f"{kind}={name!r}: {file!r} defines no {attribute!r}. Correct the name or the file."
        )
    return getattr(module, attribute)


def references(tree: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Positions and names of all parts from files in a recipe's tree.

    Any text of that form counts, wherever it stands: options of a part can name further parts.
    """
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), tree)]
    while waiting:
        position, node = waiting.pop()
        if isinstance(node, Mapping):
            waiting += [((*position, str(key)), item) for key, item in node.items()]
        elif isinstance(node, list | tuple):
            waiting += [((*position, index), item) for index, item in enumerate(node)]
        elif isinstance(node, str) and is_file_name(node):
            yield position, node


def _in_recipe(tree: object) -> list[tuple[tuple[str | int, ...], str]]:
    """The same for a whole recipe, without its text for people."""
    return [(position, name) for position, name in references(tree) if position not in _PROSE]


def collect(tree: object) -> list[dict[str, str]]:
    """The sources behind a recipe's tree, as a model file carries them.

    Raises:
        RecipeError: a file that cannot be read, or that is too long to be carried.
    """
    found: dict[str, Code] = {}
    for position, name in _in_recipe(tree):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        file = match["file"]
        code = _ADMITTED.get(match["digest"]) if match["digest"] else _RAN.get(_key(file))
        found[file] = code or _read_code(file, f"{_join_position(position)}={name!r}")
    return [
        {"file": file, "sha256": code.digest, "source": code.source}
        for file, code in sorted(found.items())
    ]


def admit(
    tree: object, carried: object, *, subject: object, allow_code: bool
) -> tuple[Any, list[str]]:
    """Make the recipe's tree of a model file safe to build from.

    Args:
        tree: the recipe inside the model file.
        carried: the sources inside the model file, as ``collect`` gives them.
        subject: the model file, for messages.
        allow_code: the user allows that code of the model file runs.

    Returns:
        The tree with names that only stand for sources of this model, and notes for the user.

    Raises:
        CheckpointError: parts from files, and the user has not allowed code; or damaged sources.
    """
    tree = _of_the_model(tree)
    names = _in_recipe(tree)
    if not names:
        return tree, []
    if not allow_code:
        raise CheckpointError(refusal(subject, names))
    sources = _read_carried(carried, subject)
    accepted, notes = deepcopy(tree), []
    for position, name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        file = match["file"]
        if file not in sources:
            sources[file] = _read_code(file, f"{subject}: {_join_position(position)}={name!r}")
            notes.append(f"{subject} holds no source of {file}; the file on disk is used.")
        code = sources[file]
        short = code.digest[:_SHORT]
        if _ADMITTED.setdefault(short, code).source != code.source:
            raise CheckpointError(
                message(
                    subject,
                    expected=f"another source of {file} than that of an earlier model",
                    found="an equal start of its digest",
                    do="Load the model in a process of its own.",
                )
            )
        _put(accepted, position, f"{file}#{short}:{match['attribute']}")
    return accepted, list(dict.fromkeys([*notes, *_differing(sources.values(), subject)]))


def _of_the_model(tree: Any) -> Any:
    """The recipe's tree without parts from files that prediction has no use for."""
    unused = {position[:-1] for position, _ in references(tree) if position[:-1] in _NOT_THE_MODEL}
    kept = deepcopy(tree) if unused else tree
    for section, field in unused:
        names = [name for name in kept[section][field] if not is_file_name(str(name))]
        kept[section][field] = names
    return kept


def source_digest(part: object) -> str | None:
    """SHA-256 of the source that the class of a part comes from; None: it comes with unmask."""
    module = sys.modules.get(type(part).__module__)
    return getattr(module, "__unmask_digest__", None)


def own_fault(error: BaseException) -> str | None:
    """The message about an error inside a part from a file; None for any other error."""
    places = [
        (frame.f_code.co_filename, line, frame.f_code.co_qualname)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if "__unmask_digest__" in frame.f_globals
    ]
    if not places:
        return None
    file, line, function = places[-1]
    return message(
        f"{file}, line {line}",
        expected=f"{function} to return",
        found=f"{type(error).__name__}: {error}",
        do="Correct this part. The contracts in unmask.testing find such errors early.",
    )


def refusal(subject: object, names: Sequence[tuple[tuple[str | int, ...], str]]) -> str:
    """The message about a model file whose parts need code."""
    parts = ", ".join(
        f"{_join_position(position)}={name}" for position, name in sorted(names, key=str)
    )
    return message(
        subject,
        expected="a model of parts that come with unmask",
        found=f"parts with code of their own: {parts}",
        do="Nothing was run. If you trust the origin of this model, give --allow-code "
        "(allow_code=True in Python).",
    )


def _differing(sources: Any, subject: object) -> Iterator[str]:
    for code in sources:
        path = Path(code.file)
        try:
            there = path.is_file() and _decode(path) != code.source
        except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
            there = True
        if there:
            yield f"{code.file} differs from its source inside {subject}, which is used."


def _read_carried(carried: object, subject: object) -> dict[str, Code]:
    """Sources by the file that they come from; every digest is verified."""
    sources: dict[str, Code] = {}
    for entry in carried if isinstance(carried, list) else [carried] if carried else []:
        texts = entry if isinstance(entry, dict) else {}
        file, source, digest = (texts.get(key) for key in ("file", "source", "sha256"))
        if not (isinstance(file, str) and isinstance(source, str)) or (
            Code(file, source).digest != digest
        ):
            raise CheckpointError(
                message(
                    subject,
                    expected="sources of its parts with file, source and sha256 that agree",
                    found=repr({"file": file, "sha256": digest})[:120],
                    do="Use another copy of the file, or make it again.",
                )
            )
        sources[file] = Code(file, source)
    return sources


def _put(tree: Any, position: Sequence[str | int], name: str) -> None:
    *parents, leaf = position
    for step in parents:
        tree = tree[step]
    tree[leaf] = name


def _join_position(position: Sequence[str | int]) -> str:
    # The name of a part is the part itself in a recipe's short form: task=ridges.py:Ridges.
    steps = position[:-1] if position[-1:] == ("name",) else position
    return ".".join(map(str, steps)) or "recipe"


def _key(file: str) -> str:
    return str(Path(file).absolute())


def _read_code(file: str, label: str) -> Code:
    path = Path(file)
    if not path.is_file():
        raise RecipeError(f"{label}: there is no file {file!r}. Check the path.")
    if path.stat().st_size > _MAX_BYTES:
        raise RecipeError(
            message(
                label,
                expected=f"a Python file of at most {_MAX_BYTES} bytes",
                found=f"{path.stat().st_size}",
                do="A model file carries this source: move tables and data out of it.",
            )
        )
    try:
        return Code(file, _decode(path))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{label}: {file!r} is not a Python file that can be read ({error}). Correct it."
        ) from error


def _decode(path: Path) -> str:
    return importlib.util.decode_source(path.read_bytes())


def _run(code: Code, *, inside: bool, label: str) -> ModuleType:
    """The module of a source; the same source of the same file runs once in a process."""
    path = "" if inside else _key(code.file)
    if not inside:
        _RAN[path] = code
    if (found := _MODULES.get((path, code.digest))) is not None:
        return found
    # Two files of one name, such as a/part.py and b/part.py, are two modules.
    mark = hashlib.sha256(f"{path}\0{code.digest}".encode("utf-8", "surrogatepass")).hexdigest()
    name = f"unmask_plugin_{Path(code.file).stem}_{mark[:_SHORT]}"
    file = path or f"<{Path(code.file).name} inside a model, {code.digest[:_SHORT]}>"
    module = ModuleType(name)
    module.__file__ = file
    module.__dict__["__unmask_digest__"] = code.digest
    # Tracebacks and inspect.getsource show the lines, although there is no such file.
    linecache.cache[file] = (len(code.source), None, code.source.splitlines(keepends=True), file)
    # Dataclasses look their module up by name while the class body runs.
    sys.modules[name] = module
    try:
        exec(compile(code.source, file, "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename == file]  # fmt: skip
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = "" if line is None else f" in line {line}"
        raise RecipeError(
            f"{label}: expected a file that can be run, found {type(error).__name__}{where}: "
            f"{str(error)[:300]}. Correct {code.file}."
        ) from error
    _MODULES[path, code.digest] = module
    return module
