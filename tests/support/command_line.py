"""A short process on few digits, as a config for the command line."""

from __future__ import annotations

from typing import Any

from support.process_runs import SHAPE

MLP = {"image_shape": SHAPE, "latent_dim": 3, "hidden": [10]}
PROCESS: dict[str, Any] = {
    "k": 1.0,
    "steps": 3,
    "equilibration": {"stationarity": 100.0, "max_epochs": 20, "check_every": 1},
    "probes": {"solving_particles": 256, "measuring_particles": 512, "measuring_samples": 2},
    "response": {"damping": 0.5},
}
CONFIG: dict[str, Any] = {
    "model": {
        "class_path": "FreeEnergyModel",
        "init_args": {
            "lam": 1.0,
            "gam": 5.0,
            "encoder": {"class_path": "MLPEncoder", "init_args": MLP},
            "decoder": {"class_path": "MLPDecoder", "init_args": MLP},
            "classifier": {
                "class_path": "LinearClassifier",
                "init_args": {"latent_dim": 3, "classes": 2},
            },
            "marginal": {"class_path": "StandardNormal", "init_args": {"latent_dim": 3}},
            "optimizer": {"class_path": "Adam", "init_args": {"lr": 0.005}},
        },
    },
    "data": {
        "class_path": "InterpolatedDataModule",
        "init_args": {
            "waypoints": [{"classes": [0, 1]}, {"classes": [5, 6]}],
            "batch_size": 64,
            "train_batches": 8,
        },
    },
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": -1,
        "enable_model_summary": False,
        "logger": False,
        "callbacks": [
            {"class_path": "IsoClassification", "init_args": PROCESS},
            {"class_path": "ProcessProgress"},
            {"class_path": "RunReport"},
            {"class_path": "ModelCheckpoint", "init_args": {"filename": "last"}},
        ],
    },
}
