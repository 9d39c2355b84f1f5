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
# # Neurites from affinities
#
# Neurites fill the tissue, so the distance to a membrane says little. Affinities say more: for each
# voxel and each offset, the probability that the voxel and its neighbor at that offset belong to
# the same neurite. This notebook turns affinities into objects with two decoders. It makes the
# affinities from a synthetic volume of known truth and disturbs them, as a network would; with
# `unmask train --preset neurites3d` a network of your own predicts them.

# %%
# %pip install -q unmask matplotlib

# %% tags=["parameters"]
SHAPE = (12, 96, 96)
NOISE = 0.25

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage

import unmask
from unmask.phantoms import draw_one

phantom = draw_one("neurites", shape=SHAPE, seed=2)
truth = phantom.labels.astype(np.int64)
print(truth.shape, "voxels,", len(np.unique(truth[truth > 0])), "neurites")

# %% [markdown]
# ## Affinities
# Near offsets (one voxel) join, far offsets separate.

# %%
near = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]
far = [(-2, 0, 0), (0, -5, 0), (0, 0, -5), (0, -5, -5)]
offsets = near + far


def affinities_of(labels, offsets):
    """One where a voxel and its neighbor belong to the same object."""
    found = np.ones((len(offsets), *labels.shape), np.float32)
    for channel, offset in zip(found, offsets, strict=True):
        here = tuple(
            slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, labels.shape, strict=True)
        )
        there = tuple(
            slice(max(0, d), n - max(0, -d)) for d, n in zip(offset, labels.shape, strict=True)
        )
        channel[here] = (labels[here] == labels[there]) & (labels[here] > 0)
    return found


noise = np.random.default_rng(0).normal(0, NOISE, (len(offsets), *SHAPE))
affinities = affinities_of(truth, offsets) + ndimage.gaussian_filter(noise, (0, 0, 1, 1))
affinities = affinities.clip(0, 1).astype(np.float32)

# %% [markdown]
# ## Decoders
# `docs/howto/decode-affinities.md` explains which decoder to use.

# %%
results = {
    "mutex": unmask.labels.segment(
        affinities, offsets, method="mutex", strides=2, min_size=50, foreground=truth > 0
    ),
    "average": unmask.labels.segment(
        affinities, offsets, method="average", min_size=50, foreground=truth > 0
    ),
}
figure, axes = plt.subplots(1, 2 + len(results), figsize=(14, 4))
middle = SHAPE[0] // 2
image = np.asarray(phantom.image).reshape(-1, *SHAPE)[0]
axes[0].imshow(image[middle], cmap="gray")
axes[1].imshow(truth[middle], cmap="nipy_spectral", interpolation="nearest")
for axis, labels in zip(axes[2:], results.values(), strict=True):
    axis.imshow(labels[middle], cmap="nipy_spectral", interpolation="nearest")
for axis, title in zip(axes, ("image", "truth", *results), strict=True):
    axis.set_title(title)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Scores
# ARAND and VOI are errors, so lower is better; `voi_split` counts cut neurites, `voi_merge` joined
# ones.

# %%
for name, labels in results.items():
    report = unmask.evaluate(
        truth=truth, predicted=labels, metrics=["arand", "voi_split", "voi_merge"]
    )
    print(f"{name:8} {report!r}")
