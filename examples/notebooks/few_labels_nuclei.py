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
# # Few labels on nuclei
#
# Eight images, of which two are labeled. We fine-tune the model that comes with unmask on these
# two, segment the other six, and compare both models with the truth. The images are synthetic, so
# the notebook needs no download; put your own folders in their place.

# %%
# %pip install -q unmask matplotlib pandas

# %% tags=["parameters"]
STEPS = 100
SIZE = 256

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import unmask
from unmask.phantoms import write_phantoms

work = Path(tempfile.mkdtemp())
for part in ("data", "truth"):
    write_phantoms(work / part, "nuclei", shape=(SIZE, SIZE), count=8, seed=3)
images, labels = work / "data" / "images", work / "data" / "labels"
for path in sorted(labels.iterdir())[2:]:
    path.unlink()
print(len(list(images.iterdir())), "images,", len(list(labels.iterdir())), "with labels")

# %% [markdown]
# ## Train
# Images without labels are left out and reported. `init="nuclei"` starts from the shipped model, so
# that a few updates suffice.

# %%
run = unmask.train(
    "cells",
    images=images,
    labels=labels,
    out=work / "run",
    init="nuclei",
    settings=[
        f"train.steps={STEPS}",
        "train.warmup=0",
        "train.lr=0.0003",
        "train.batch_size=2",
        f"data.crop=[{SIZE // 2},{SIZE // 2}]",
    ],
)
run

# %% [markdown]
# ## Segment the images without labels

# %%
new = [path for path in sorted(images.iterdir()) if not (labels / path.name).exists()]
results = {
    model: [unmask.predict(model, path) for path in new] for model in ("nuclei", str(run.folder))
}
figure, axes = plt.subplots(1, 3, figsize=(12, 4))
axes[0].imshow(unmask.open_image(new[0]).read()[0], cmap="gray")
axes[0].set_title("image")
for axis, (model, found) in zip(axes[1:], results.items(), strict=True):
    axis.imshow(found[0].labels, cmap="nipy_spectral", interpolation="nearest")
    axis.set_title(f"{Path(model).name}: {found[0].labels.max()} nuclei")
for axis in axes:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Compare with the truth

# %%
truth = [work / "truth" / "labels" / path.name for path in new]
for model, found in results.items():
    report = unmask.evaluate(
        truth=[unmask.open_image(path).read()[0] for path in truth],
        predicted=[each.labels for each in found],
        metrics=["f1@0.5", "ap@0.5"],
    )
    print(f"{Path(model).name:8} {report!r}")
