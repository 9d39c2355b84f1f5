"""Predict a volume of any size on a SLURM cluster: one dask worker and one GPU a job.

pip install 'unmask[scale]' dask-jobqueue
python examples/slurm_predict.py runs/cells3d big.ome.zarr out/ --jobs 16

Run it again when it was ended: finished blocks are kept, and the bytes are the same.
"""

from __future__ import annotations

import argparse

from dask_jobqueue import SLURMCluster

from unmask.api import predict_files
from unmask.api.prediction import Options


def main() -> None:
    parser = argparse.ArgumentParser(description="Predict a volume on a SLURM cluster.")
    parser.add_argument("model", help="model file or run, on a disk that all nodes see")
    parser.add_argument("image", help="image or volume, on such a disk")
    parser.add_argument("out", help="folder of the label images, on such a disk")
    parser.add_argument("--jobs", type=int, default=8, help="most jobs at once")
    parser.add_argument("--hours", type=int, default=4, help="time limit of a job")
    chosen = parser.parse_args()
    with SLURMCluster(
        cores=8,
        processes=1,
        memory="32GB",
        walltime=f"{chosen.hours:02}:00:00",
        # A block is computed by one thread of a worker: the network fills the GPU alone.
        worker_extra_args=["--nthreads", "1"],
        job_extra_directives=["--gpus=1"],
    ) as cluster:
        cluster.adapt(minimum=1, maximum=chosen.jobs)
        options = Options(cluster=cluster.scheduler_address, resume=True)
        predict_files(chosen.model, chosen.image, out=chosen.out, options=options)


if __name__ == "__main__":
    main()
