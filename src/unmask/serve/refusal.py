"""Requests that are refused: an HTTP status with the usual message."""

from __future__ import annotations

from typing import Any

from unmask.errors import UnmaskError, message


class RefusedError(UnmaskError):
    """A request that cannot be done.

    Attributes:
        status: HTTP status of the response.
        facts: more fields of the response.
    """

    def __init__(self, status: int, text: str, **facts: Any) -> None:
        super().__init__(text)
        self.status = status
        self.facts = facts


def missing(subject: object) -> RefusedError:
    """What to raise for an id that stands for nothing."""
    return RefusedError(
        404, message(subject, expected="a known id", found="none", do="Reload the page.")
    )
