"""Files of networks that run without unmask: ONNX, TorchScript, BioImage.IO packages."""

from unmask.parts import Parts

FORMATS = Parts(
    "unmask.exports",
    {
        "onnx": "unmask.exports.onnx:FORMAT",
        "torchscript": "unmask.exports.torchscript:FORMAT",
        "bioimageio": "unmask.exports.bioimageio:FORMAT",
    },
)
__all__ = ["FORMATS"]
