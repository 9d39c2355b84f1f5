"""One module per public data set: from its archive to images, labels and splits."""
