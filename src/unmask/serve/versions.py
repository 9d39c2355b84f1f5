"""Versions against lost changes: a request names the version that its change was made on.

If that is not the current one, somebody else has saved meanwhile. Nothing is written then, and the
answer says which version is current.
"""

from __future__ import annotations

from typing import Any

from unmask.errors import message
from unmask.serve.refusal import RefusedError

# Of what does not exist yet.
ABSENT = "0"
# Of a request that replaces every version.
ANY = "*"


def conflict(subject: str, version: str, **facts: Any) -> RefusedError:
    """What to raise for a change of another version than the current one.

    Args:
        subject: what was to be changed.
        version: the current one.
        facts: more fields of the answer.
    """
    return RefusedError(
        409,
        message(subject, expected="that nobody has saved since they were loaded",
                found="a newer version", do="Load it, or save again to replace it."),
        version=version, **facts,
    )  # fmt: skip
