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
# # Organelles without labels
#
# The method of MAESTER ([Xie et al., CVPR 2023](https://doi.org/10.1109/CVPR52729.2023.00317)): a
# network learns to reconstruct masked parts of an electron micrograph. Then the features of its
# voxels are grouped into clusters, and you give the clusters names. Nobody draws a label. The
# volume is synthetic, so the notebook needs no download.

# %%
# %pip install -q unmask matplotlib pandas

# %% tags=["parameters"]
STEPS = 300
SIZE = 240
CLASSES = 5

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import unmask
from unmask.api import ClusterOptions
from unmask.phantoms import write_phantoms

work = Path(tempfile.mkdtemp())
write_phantoms(work / "data", "mitochondria", shape=(SIZE, SIZE), count=2, seed=1)
images = work / "data" / "images"

# %% [markdown]
# ## Pre-train on the images
# A good model takes half an hour on one CPU core (`maester_small`, 3,000 updates). These few
# updates show the steps.

# %%
run = unmask.pretrain(
    "maester_small",
    images=images,
    out=work / "run",
    settings=[f"train.steps={STEPS}", "train.warmup=0", "train.batch_size=8"],
)
run

# %% [markdown]
# ## Cluster the features

# %%
found = unmask.cluster(
    run.folder,
    images,
    out=work / "clusters",
    classes=CLASSES,
    options=ClusterOptions(quality="draft"),
)
figure, axes = plt.subplots(1, 2, figsize=(9, 4))
axes[0].imshow(unmask.open_image(sorted(images.iterdir())[0]).read()[0], cmap="gray")
axes[1].imshow(unmask.open_image(found.labels[0]).read()[0], cmap="tab10", interpolation="nearest")
for axis, title in zip(axes, ("image", f"{CLASSES} clusters"), strict=True):
    axis.set_title(title)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Name the clusters
# The folder `contact` has a picture of each cluster, and `names.yaml` is a template: write the
# numbers of the clusters next to the names of organelles, and give the file with
# `ClusterOptions(centers=..., names=...)` to label other volumes in the same way.

# %%
pd.read_csv(found.statistics)

# %%
print((work / "clusters" / "names.yaml").read_text())
