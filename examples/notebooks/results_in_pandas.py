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
# # Results in pandas
#
# After the mask comes the table: one row per object, with size, shape, neighbors and the intensity
# of every channel. Here two groups of images are measured and compared. The images are synthetic,
# so the notebook needs no download; give the folders of `unmask predict` in their place.

# %%
# %pip install -q unmask matplotlib pandas

# %% tags=["parameters"]
COUNT = 3
SIZE = 200

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import unmask
from unmask.phantoms import write_phantoms

work = Path(tempfile.mkdtemp())
for group, kind, seed in (("control", "nuclei", 1), ("treated", "crowded_nuclei", 2)):
    write_phantoms(work / group, kind, shape=(SIZE, SIZE), count=COUNT, seed=seed)

# %% [markdown]
# ## Measure
# `spacing` brings columns in micrometers, such as `area_um2`, next to those in pixels. On the
# command line this is `unmask measure --labels labels/ --images images/ --spacing 0.5,0.5
# --out objects.csv`.

# %%
tables = []
for group in ("control", "treated"):
    table = unmask.measure(
        work / group / "labels", images=work / group / "images", spacing=(0.5, 0.5)
    )
    tables.append(table.to_pandas().assign(group=group))
objects = pd.concat(tables, ignore_index=True)
objects.head()

# %% [markdown]
# ## Filter
# Objects at the border of the image are cut, so their size means nothing.

# %%
whole = objects[~objects["touches_border"].astype(bool)]
print(f"{len(objects)} objects, {len(whole)} of them whole")

# %% [markdown]
# ## Compare
# Medians per image first: objects of one image are not independent of each other.

# %%
per_image = whole.groupby(["group", "image"])[["area_um2", "solidity"]].median()
per_image.groupby("group").agg(["mean", "std"])

# %%
counts = objects.groupby(["group", "image"]).size().rename("objects")
counts

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 4))
for group, part in whole.groupby("group"):
    axes[0].hist(part["area_um2"], bins=20, alpha=0.6, label=group)
    axes[1].scatter(part["area_um2"], part["solidity"], s=8, label=group)
axes[0].set_xlabel("area (µm²)")
axes[1].set_xlabel("area (µm²)")
axes[1].set_ylabel("solidity")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Keep

# %%
objects.to_csv(work / "objects.csv", index=False)
print(work / "objects.csv")
