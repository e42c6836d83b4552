"""Train a config on a Ray cluster, with Ray Train's TensorFlow trainer.

    pip install 'keras_arch[ray]'
    python deploy/ray_train.py resnet20-cifar10 --workers 2 --gpu --out /shared/runs/resnet20

Ray starts a process for each worker and sets `TF_CONFIG`; each of them calls `keras_arch.train`.
The run directory is on storage that all nodes share. A worker that is lost ends the others, and Ray
starts all again, `--restarts` times; they go on from the last checkpoint.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Run a training on the workers, and print where its model is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", help="name of a config, or path of a YAML file on all nodes")
    parser.add_argument("--out", type=Path, required=True, help="run directory, shared")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--cpus", type=int, default=1, help="cores of each (default 1)")
    parser.add_argument("--gpu", action="store_true", help="give each a GPU")
    parser.add_argument("--restarts", type=int, default=3, help="after failures (default 3)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--address", help="of a running cluster (default: RAY_ADDRESS, else local)")
    given = parser.parse_args()

    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    # The paths of a worker begin in another folder.
    config = str(Path(given.config).resolve()) if Path(given.config).suffix else given.config
    out = given.out.resolve()
    ray.init(given.address)
    trainer = TensorflowTrainer(
        train,
        train_loop_config={
            "config": config,
            "out": str(out),
            "overrides": given.set,
            "cpus": given.cpus,
        },
        scaling_config=ScalingConfig(
            num_workers=given.workers,
            use_gpu=given.gpu,
            resources_per_worker={"CPU": given.cpus} | ({"GPU": 1} if given.gpu else {}),
        ),
        run_config=RunConfig(
            name=out.name,
            # Ray's own record of the job; the run directory must hold nothing else.
            storage_path=str(out.parent / "ray"),
            failure_config=FailureConfig(max_failures=given.restarts),
        ),
    )
    trainer.fit()
    print(f"run: {out}")
    return 0


def train(settings: dict[str, Any]) -> None:
    """Train in one of the worker processes."""
    # Ray asks for Keras 2, which is not used here.
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(settings["cpus"])
    import keras_arch

    # To resume is right at the first start, too: there is nothing then.
    keras_arch.train(
        settings["config"],
        settings["out"],
        overrides=settings["overrides"],
        strategy="multi_worker",
        resume=True,
    )


if __name__ == "__main__":
    sys.exit(main())
