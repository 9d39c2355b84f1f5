# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A medical volume
#
# Organs in volumes of thick slices: train a small network, segment a new volume, and measure Dice
# and volumes in cubic millimeters. They are synthetic, so the notebook needs no download; NIfTI
# and DICOM files of your own go in their place.

# %%
# %pip install -q unmask matplotlib pandas

# %% tags=["parameters"]
STEPS = 200
SHAPE = (24, 64, 64)
WIDTH = 16

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import unmask
from unmask.phantoms import write_phantoms

work = Path(tempfile.mkdtemp())
write_phantoms(work / "data", "organs_ct", shape=SHAPE, count=4, seed=5)
images = sorted((work / "data" / "images").iterdir())
classes = sorted((work / "data" / "classes").iterdir())
values = np.unique(np.concatenate([np.unique(unmask.open_image(c).read()) for c in classes]))
print("classes:", values.tolist(), "voxel size:", unmask.open_image(images[0], ndim=3).spacing)

# %% [markdown]
# ## Train on three volumes

# %%
run = unmask.train(
    "semantic3d",
    images=[str(path) for path in images[:3]],
    labels=[str(path) for path in classes[:3]],
    out=work / "run",
    settings=[
        f"train.steps={STEPS}",
        "train.batch_size=2",
        "train.warmup=0",
        f"data.crop=[{SHAPE[0] // 2},{SHAPE[1] // 2},{SHAPE[2] // 2}]",
        f"model.backbone.width={WIDTH}",
        "model.backbone.depth=3",
        f"task.classes={int(values.max()) + 1}",
    ],
)
run

# %% [markdown]
# ## Segment the fourth

# %%
result = unmask.predict(run.folder, images[3])
truth = unmask.open_image(classes[3], ndim=3).read()[0]
image = unmask.open_image(images[3], ndim=3).read()[0]
figure, axes = plt.subplots(1, 3, figsize=(12, 4))
middle = SHAPE[0] // 2
axes[0].imshow(image[middle], cmap="gray")
axes[1].imshow(truth[middle], cmap="tab10", interpolation="nearest")
axes[2].imshow(result.labels[middle], cmap="tab10", interpolation="nearest")
for axis, title in zip(axes, ("image", "truth", "prediction"), strict=True):
    axis.set_title(title)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Dice and volumes

# %%
report = unmask.evaluate(truth=truth, predicted=result.labels, metrics=["dice"])
report

# %%
voxel = float(np.prod(result.spacing or (1.0, 1.0, 1.0)))
for value in values[values > 0]:
    volumes = [np.count_nonzero(labels == value) * voxel for labels in (truth, result.labels)]
    print(f"class {value}: {volumes[0]:.0f} true, {volumes[1]:.0f} predicted (cubic units)")
