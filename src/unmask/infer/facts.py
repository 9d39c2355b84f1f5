"""What decides about a prediction, for resuming and for the provenance of its labels."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unmask.infer.predictor import Predictor
from unmask.io import Image
from unmask.io.identity import image_identity
from unmask.models.digest import digest_weights


def predictor_digest(predictor: Predictor) -> str:
    """Digest of all weights of a predictor's models."""
    return digest_weights(
        [item for segmenter in predictor.segmenters for item in segmenter.state_dict().items()]
    )


def label_provenance(predictor: Predictor, image: Image, weights: str) -> dict[str, Any]:
    """Provenance that is stored with labels in an OME-Zarr, the same in memory and in blocks."""
    found = predictor.provenance(image)
    return json.loads(json.dumps(found | {"weights": weights, "unmask": version("unmask")}))


def prediction_facts(predictor: Predictor, image: Image, weights: str) -> dict[str, Any]:
    """What decides about a prediction, as JSON values; the device is left out.

    Args:
        predictor: models, task and tiling.
        image: the image.
        weights: ``predictor_digest`` of the predictor.
    """
    facts = predictor.provenance(image)
    facts.pop("device")
    facts["image"] = Path(image.source).name
    facts["weights"] = weights
    facts["unmask"] = version("unmask")
    facts |= {"shape": image.shape, "dtype": str(image.dtype), "file": image_identity(image)}
    if "selected" in image.meta:
        facts["channels"] = image.meta["selected"]
    return json.loads(json.dumps(facts))
