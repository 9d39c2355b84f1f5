"""Dense features of unlabeled volumes, cluster centers, and volumes of cluster ids."""
