"""A task for tests of prediction: it is never trained, and its scores are its logits."""

from __future__ import annotations

from typing import Any


class Untrained:
    """One channel; a subclass decodes it and sets ``context``."""

    context = 0
    metrics = ("dice",)

    def channels(self) -> int:
        """One channel."""
        return 1

    def encode(self, labels: Any, spacing: Any) -> Any:  # noqa: ARG002 - the contract
        """Refuse; prediction has no targets."""
        raise AssertionError("Prediction has no targets.")

    def loss(self, logits: Any, values: Any, weight: Any) -> Any:  # noqa: ARG002 - the contract
        """Refuse; prediction has no targets."""
        raise AssertionError("Prediction has no targets.")

    def activate(self, logits: Any) -> Any:
        """The logits."""
        return logits

    def flip(self, scores: Any, axis: int) -> Any:
        """Mirror the scores ``(B, C, *space)`` along a spatial axis."""
        return scores.flip(2 + axis)
