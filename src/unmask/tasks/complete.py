"""Give a task that only has what `Task` asks for everything that it may leave out."""

from __future__ import annotations

import types
from copy import copy
from functools import lru_cache
from typing import Any, cast

from unmask.errors import RecipeError, message
from unmask.tasks.base import CompleteTask, Task, TaskDefaults

# Members of optional protocols that version 0.1 looked for, and what replaces each of them.
_REPLACED = {
    "side_loss": "objective",
    "second_view": "objective",
    "decode_counted": "answer",
    "shares": "answer",
}


def complete(task: Task) -> CompleteTask:
    """The task with `TaskDefaults`; a task that inherits them is returned as it is.

    A task from a user's file does not need to know this program's classes. It is copied, and the
    copy's class inherits both its own class, which comes first, and the defaults. An object that
    wraps the task would not do: class name, options and source of a task identify it in model
    files.

    Raises:
        RecipeError: a member of version 0.1 that is no longer called.
    """
    if isinstance(task, TaskDefaults):
        return cast("CompleteTask", task)
    kind: type[Any] = type(task)
    for old, new in _REPLACED.items():
        if hasattr(kind, old) and not hasattr(kind, new):
            raise RecipeError(
                message(
                    f"task {kind.__name__}",
                    expected=f"the method {new} (see unmask.tasks.base.TaskDefaults)",
                    found=f"{old}, which is no longer called",
                    do=f"Rename or rewrite it as {new}.",
                )
            )
    whole = copy(task)
    object.__setattr__(whole, "__class__", _with_defaults(kind))
    return cast("CompleteTask", whole)


@lru_cache
def _with_defaults(kind: type[Any]) -> type[Any]:
    # Cached, because dataclasses are equal only if they are of one class. Without slots of its own
    # the new class has the memory layout of the old one, which Python demands of the exchange.
    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return types.new_class(
        kind.__name__, (kind, TaskDefaults), exec_body=lambda new: new.update(__slots__=(), **names)
    )
