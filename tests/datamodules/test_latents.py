"""Images as a trained encoder sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.stats import norm

from thermo_pl.datamodules import Digits, InterpolatedDataModule, Latents, Waypoint
from thermo_pl.errors import ConfigError, DataError
from thermo_pl.networks import ConvEncoder, Encoder, MLPEncoder


def saved(folder: Path, encoder: Encoder) -> Path:
    """A checkpoint as a model leaves it."""
    path = folder / "model.ckpt"
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": state | {"decoder.weight": torch.zeros(3)}}, path)
    return path


def test_latents_are_those_of_the_trained_encoder(tmp_path: Path) -> None:
    trained, fresh = (ConvEncoder([1, 8, 8], 4, [2]) for _ in range(2))
    images = Digits().load()["train"].images
    with torch.no_grad():
        expected = norm.cdf(trained(images).mean.double().numpy())
    found = Latents(fresh, saved(tmp_path, trained))(images)
    assert found.shape == (len(images), 1, 1, 4)
    torch.testing.assert_close(
        found[:, 0, 0].double(), torch.from_numpy(expected), atol=1e-6, rtol=0
    )


def test_a_path_between_latents(tmp_path: Path) -> None:
    trained = MLPEncoder([1, 8, 8], 3, [])
    seen = Latents(MLPEncoder([1, 8, 8], 3, []), saved(tmp_path, trained))
    waypoints = [Waypoint([0, 1], transform=seen), Waypoint([2, 3], transform=seen)]
    data = InterpolatedDataModule(waypoints, labels="ordered", cache_dir=tmp_path)
    data.prepare_data()
    data.setup("fit")
    assert data.image_shape == (1, 1, 3)
    particles = data.coupling("train").all()
    # the plan is optimal between latents: no two pairs gain by changing partners
    of_zero = particles.source_label[:, 0] == 1
    x, y = (side[of_zero].flatten(1).double() for side in (particles.source, particles.target))
    cost = torch.cdist(x, y).square()
    swapped = cost + cost.T - cost.diagonal()[:, None] - cost.diagonal()
    assert swapped.min() > -1e-6


def test_what_is_no_checkpoint_of_the_encoder_is_refused(tmp_path: Path) -> None:
    encoder = MLPEncoder([1, 8, 8], 3, [])
    with pytest.raises(ConfigError, match=r"got .*nowhere\.ckpt'; allowed: an existing"):
        Latents(encoder, tmp_path / "nowhere.ckpt")
    other = saved(tmp_path, MLPEncoder([1, 8, 8], 5, []))
    with pytest.raises(ConfigError, match=r"allowed: a checkpoint of a model with this encoder \("):
        Latents(encoder, other)
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(ConfigError, match=r"text\.ckpt'; allowed: a checkpoint of a model"):
        Latents(encoder, tmp_path / "text.ckpt")


def test_images_that_the_encoder_does_not_take_are_refused(tmp_path: Path) -> None:
    encoder = MLPEncoder([1, 8, 8], 3, [])
    latents = Latents(encoder, saved(tmp_path, encoder))
    with pytest.raises(DataError, match=r"got images of shape \(1, 8, 9\); allowed: \(1, 8, 8\)"):
        latents(torch.zeros(2, 1, 8, 9))
