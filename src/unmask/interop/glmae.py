"""Encoders of GL-MAE (doi:10.1109/TMI.2025.3569782): CT volumes, patches of 16.

The student is taken, as in the authors' own loaders; the projection head is not needed.
"""

from __future__ import annotations

from functools import partial

from unmask.interop import tokens
from unmask.interop.base import Entries, Source, state_dict

# Attention heads of base, large and huge, and of the decoder, by width.
HEADS = {768: 12, 1024: 16, 1280: 16, 512: 16, 576: 16}
# Hounsfield units that became 0 and 1.
WINDOW = {"name": "window", "low": -1000.0, "high": 1000.0}


def _belongs(entries: Entries) -> bool:
    return tokens.is_transformer(entries, 3)


SOURCE = Source(
    title="GL-MAE (doi:10.1109/TMI.2025.3569782)",
    license="none stated",
    unpack=partial(
        state_dict,
        groups=("student", "teacher", "state_dict", "model"),
        prefixes=("module.", "backbone."),
    ),
    belongs=_belongs,
    recipe=partial(tokens.recipe, preset="mae3d", normalize=WINDOW, heads=HEADS),
    renamed=tokens.rename_entry,
    build=tokens.network,
    outputs=tokens.outputs,
    optional=True,
)
