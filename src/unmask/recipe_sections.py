"""The sections of a recipe: their fields, with types, defaults and descriptions.

The descriptions are what ``unmask presets NAME --all`` and the reference page of the recipe show.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from unmask.lookup import Choice
from unmask.recipe_text import Names

# Beyond this factor an image has no pixels left, or none of it fits into memory.
MAX_SCALE = 64
Scale = Annotated[float, Field(ge=1 / MAX_SCALE, le=MAX_SCALE)]


class Section(BaseModel):
    """A group of fields; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(BaseModel):
    """A component: its name and the arguments of its constructor.

    YAML takes ``backbone: resunet`` or ``backbone: {name: resunet, width: 32}``.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @property
    def choice(self) -> Choice:
        """Name and options, as the builder takes them."""
        return Choice(self.name, dict(self.model_extra or {}))


class ReplayRecipe(Section):
    """A second source of images and labels, so that a model keeps what it has learned from it."""

    batch: int = Field(
        default=1, ge=1, description="Crops of the second source per batch, added to batch_size."
    )
    augment: tuple[Part, ...] | None = Field(
        default=None,
        description="Augmentations of the second source. null: those of data.augment.",
    )
    label_changes: tuple[Part, ...] | None = Field(
        default=None,
        description="Label changes of the second source. null: those of data.label_changes.",
    )


class DataRecipe(Section):
    """From files to crops."""

    channels: int = Field(default=1, ge=1, description="Number of channels of the network's input.")
    use_channels: tuple[int | str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Channels of the files that are used, in this order, by number (starting at 0) "
        "or name, such as [DAPI, actin]. null: all.",
    )
    axes: str | None = Field(
        default=None,
        description="Axes of the files, such as ZYX. null: as the files say, or as their shape "
        "suggests.",
    )
    crop: tuple[int, ...] = Field(
        default=...,
        description="Size of a training crop in voxels, one number per axis, slow axis first. Its "
        "length sets the number of axes of the network.",
    )
    spacing: tuple[PositiveFloat, ...] | None = Field(
        default=None,
        description="Voxel size to which images are resampled, slow axis first, in the unit of the "
        "files. null: images are not resampled.",
    )
    scale: Scale | tuple[Scale, ...] | None = Field(
        default=None,
        description="Factor by which images are resized, after data.spacing, or one per axis. "
        "Predictions come back at the size of the image. null: not resized.",
    )
    foreground_crop: float | None = Field(
        default=None,
        description="Crop each image to the bounding box of the voxels above this value. null: use "
        "the whole image.",
    )
    normalize: Part = Field(
        default_factory=lambda: Part(name="percentile"),
        description="How the intensities of an image are normalized.",
    )
    augment: tuple[Part, ...] = Field(
        default=(), description="Augmentations, applied in this order."
    )
    foreground: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the crops that are centered on an object. Raise it if objects are "
        "rare.",
    )
    border: Literal["mirror", "zero"] = Field(
        default="mirror", description="How images smaller than a crop are padded."
    )
    label_changes: tuple[Part, ...] = Field(
        default=(), description="Changes to whole label images before training."
    )
    sampling: Part | None = Field(
        default=None,
        description="How often each image is drawn. null: all images equally often.",
    )
    replay: ReplayRecipe | None = Field(
        default=None,
        description="A second source of images in every batch (--replay-images). null: none.",
    )
    ignore_label: int | None = Field(
        default=None,
        description="Label value that marks voxels without annotation; they are left out of the "
        "loss.",
    )
    image_suffix: str = Field(
        default="",
        description="Ending of the image names that is removed before images and labels are "
        "paired, such as _0000.",
    )
    label_suffix: str = Field(
        default="",
        description="Ending of the label names that is removed before images and labels are "
        "paired, such as _label.",
    )
    label_offset: tuple[int, ...] | None = Field(
        default=None,
        description="First voxel of the labels in their image, slow axis first, if the labels "
        "cover a part of the image. null: as the files say.",
    )
    fold: int | None = Field(
        default=None,
        ge=0,
        description="Fold of a dataset.json to hold out for validation. null: the split in the "
        "file.",
    )
    holdout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of the images held out for validation if no validation images are "
        "given.",
    )
    sections: tuple[int, ...] | None = Field(
        default=None,
        description="Pre-train a network on 2D sections of volumes, cut across these axes. null: "
        "images have as many axes as the crop.",
    )
    cache_gb: float = Field(
        default=4.0, ge=0, description="Memory for decoded images, in gigabytes."
    )
    allow_external: bool = Field(
        default=False,
        description="Read HDF5 and Zarr files that take their values from other files.",
    )
    formats: Names = Field(
        default=(),
        description="File formats of your own, each as path/to/file.py:Name.",
    )

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.crop)


class ModelRecipe(Section):
    """The network."""

    backbone: Part = Field(default=..., description="The encoder, such as resunet or vit.")
    decoder: Part | None = Field(
        default=None,
        description="The decoder. null: the one that fits the backbone.",
    )
    head: Part = Field(
        default_factory=lambda: Part(name="linear"),
        description="The layer from the decoder's features to the outputs of the task.",
    )
    deep_supervision: int = Field(
        default=0, ge=0, description="Number of coarser decoder levels with a loss of their own."
    )


class TrainRecipe(Section):
    """The optimization."""

    steps: int = Field(default=..., ge=1, description="Number of optimizer steps.")
    batch_size: int = Field(default=8, ge=1, description="Crops per batch and device.")
    accumulate: int = Field(
        default=1, ge=1, description="Batches whose gradients are summed before a step."
    )
    optimizer: Part = Field(
        default_factory=lambda: Part(name="adamw"), description="The optimizer with its options."
    )
    lr: float = Field(default=1e-3, gt=0, description="Peak learning rate.")
    warmup: int = Field(
        default=100, ge=0, description="Steps over which the learning rate rises to its peak."
    )
    final_lr: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Learning rate at the end of the cosine schedule, as a fraction of lr.",
    )
    cosine_steps: int | None = Field(
        default=None,
        ge=1,
        description="Half the period of the cosine schedule in steps, after which the learning "
        "rate rises again. null: all steps after the warm-up.",
    )
    final_weight_decay: float = Field(
        default=1.0,
        ge=0,
        description="Weight decay at the end of its cosine schedule, as a multiple of the start. 1 "
        "keeps it constant.",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate from each block or resolution of the backbone to "
        "the one below; decoder and head learn at the full rate. 1 turns it off.",
    )
    unlabeled: Part | None = Field(
        default=None,
        description="Method for unlabeled images (--unlabeled): consistency, pseudo_labels or "
        "reconstruction, with its options and batch (unlabeled crops per batch), weight (of its "
        "loss) and ramp (share of the steps over which the weight rises). null: none.",
    )
    freeze: tuple[str, ...] = Field(
        default=(),
        description="Parts of the network whose weights are not trained, such as [backbone].",
    )
    freeze_statistics: bool = Field(
        default=False,
        description="Batch norms keep the mean and variance of the weights that the training "
        "starts from (--init). Use it for few images or small batches.",
    )
    sync_batchnorm: bool = Field(
        default=False,
        description="Batch norms of several processes (--devices) use the mean and variance of all "
        "their batches together, as the published SparK does.",
    )
    clip: float | None = Field(
        default=1.0, description="Maximum norm of the gradient. null: no limit."
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights. 0 turns it off.",
    )
    precision: Literal["auto", "32", "bf16", "16"] = Field(
        default="auto",
        description="Precision of the computation. auto: a few updates are timed in each "
        "precision that the device supports, and the run uses the fastest.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the network with torch.compile before the first update. It takes "
        "minutes and pays off in long trainings on a GPU.",
    )
    seed: int = Field(
        default=0, ge=0, description="Seed of the weights, crops, augmentations and masks."
    )
    workers: int = Field(default=1, ge=0, description="Threads that prepare batches.")
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description="Threads that compute on a CPU. auto: as many as PyTorch takes; if other "
        "programs use the machine, a few updates are timed with fewer threads as well, and the "
        "run uses the fastest number. A resumed run keeps its number.",
    )
    validate_every: int = Field(
        default=500, ge=0, description="Steps between validations. 0: only at the end."
    )
    validate_images: int = Field(
        default=20, ge=1, description="Maximum number of images per validation."
    )
    metrics: Names = Field(
        default=(),
        description="Metrics of the validation. The first one chooses the best model. Empty: those "
        "of the task.",
    )
    trackers: Names = Field(
        default=(),
        description="Trackers that get the lines of the journal too: mlflow, wandb, or a class of "
        "your own as path/to/file.py:Name.",
    )
    folds: int = Field(
        default=0,
        ge=0,
        description="Folds of a cross-validation for few labeled images: each image is scored by a "
        "model that was not trained on it, and the final model is trained on all images. 0: no "
        "folds; data.holdout applies.",
    )
    tune: bool = Field(
        default=True,
        description="Choose the decoding options on the held-out predictions of a "
        "cross-validation.",
    )
    save_every: int = Field(default=500, ge=1, description="Steps between snapshots.")
    keep: int = Field(default=2, ge=1, description="Number of snapshots to keep.")
    bad_steps: int = Field(
        default=10,
        ge=0,
        description="Number of consecutive steps with a non-finite loss after which training "
        "stops.",
    )


class InferRecipe(Section):
    """Prediction."""

    tile: tuple[int, ...] | None = Field(
        default=None, description="Size of a tile in voxels. null: the size of a training crop."
    )
    overlap: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="Overlap of neighboring tiles, as a fraction of a tile.",
    )
    adapt_tile: bool = Field(
        default=False,
        description="Adapt the tile to each image: fewer and larger tiles with the same overlap in "
        "voxels, of at most as many voxels as a batch of tiles. For networks that see any size "
        "alike, such as resunet.",
    )
    blend: Literal["gaussian", "crop"] = Field(
        default="gaussian",
        description="How overlapping tiles are combined: a weighted mean with weights that fall "
        "off toward the border, or the center of each tile.",
    )
    pad: Literal["mirror", "zero"] = Field(
        default="mirror", description="How images smaller than a tile are padded."
    )
    tta: bool | tuple[tuple[int, ...], ...] = Field(
        default=False,
        description="Test-time augmentation: average over mirrored images. true mirrors each axis "
        "alone; a list names the axes to mirror together in each view, such as [[], [0], [1], "
        "[0, 1]].",
    )
    mirror_positions: bool = Field(
        default=False, description="Mirror the positions of the tiles in mirrored views too."
    )
    average: Literal["scores", "logits"] = Field(
        default="scores", description="What is averaged over tiles, views and models."
    )
    batch_size: int | None = Field(
        default=None, ge=1, description="Tiles per batch. null: as many as memory allows."
    )
    precision: Literal["auto", "32", "bf16", "16"] = Field(
        default="auto",
        description="Precision of the computation. auto: bf16 if the device computes in it, 16 on "
        "other NVIDIA GPUs, otherwise 32.",
    )
    uncertainty: Literal["scores", "flips"] | None = Field(
        default=None,
        description="Source of the uncertainty. scores: the scores of the predicted views; flips: "
        "also the disagreement with mirrored views, which costs one more run of the network per "
        "axis and changes no label. null: flips with --scores, otherwise scores.",
    )
    scale: Scale | tuple[Scale, ...] | None = Field(
        default=None,
        description="Factor by which images are resized before the network, or one factor per "
        "axis. Labels have the size of the image. See also predict --diameter.",
    )
    fit: bool | Literal["scale"] = Field(
        default=False,
        description="Fit each image to the model. true: its scale and the smallest doubtful "
        "object, for images unlike those of the training. scale: the scale alone, where objects "
        "are larger than those of the training. Either takes 1.4 to 2.3 times as long. "
        "infer.scale fixes the scale.",
    )
    block: tuple[int, ...] | None = Field(
        default=None,
        description="Size of a block in voxels; large images are predicted block by block. null: "
        "only images that do not fit into memory, in blocks of a size that does.",
    )
