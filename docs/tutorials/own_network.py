# %% [markdown]
# # Your own network
#
# After this tutorial a network of yours is the encoder of a model, and has been carried from one
# kind of images to another.
#
# Any `torch.nn.Module` will do. It gets a batch of examples, and gives two numbers for each of the
# `latent_dim` axes of z: a mean and a log variance.

# %%
from pathlib import Path

import pytorch_lightning as pl
from torch import nn

import thermo_pl as tp
from thermo_pl.networks import ModuleEncoder

mine = nn.Sequential(
    nn.Conv2d(1, 8, 3, stride=2),
    nn.SiLU(),
    nn.Flatten(),
    nn.Linear(8 * 3 * 3, 2 * 4),
)
encoder = ModuleEncoder([1, 8, 8], latent_dim=4, module=mine)

# %% [markdown]
# The module is tried at once. What would make training and measurement see two different functions
# is refused by name:

# %%
from thermo_pl.errors import ThermoError

try:
    ModuleEncoder([1, 8, 8], 4, nn.Sequential(mine, nn.Dropout()))
except ThermoError as refused:
    print("refused:", "Dropout" in str(refused))

# %% [markdown]
# ```text
# refused: True
# ```
#
# [What a network must be](../networks.md#what-a-network-must-be) says what to do about it.
#
# Now as with any other encoder. Zeros and ones become fives and sixes; the digits come with
# scikit-learn. The run is kept short here: `steps` and `train_batches` would be larger.

# %%
model = tp.FreeEnergyModel(
    encoder,
    tp.LinearClassifier(4, classes=2),
    tp.MLPDecoder([1, 8, 8], 4, hidden=[]),
    tp.StandardNormal(4),
    lam=0.5,
    gam=5.0,
)
data = tp.InterpolatedDataModule([tp.Waypoint([0, 1]), tp.Waypoint([5, 6])], train_batches=20)
process = tp.IsoClassification(
    k=0.1,
    steps=2,
    equilibration=tp.Equilibration(stationarity=0.5, max_epochs=60, check_every=5),
    tolerance=0.1,
)
pl.seed_everything(0, verbose=False)
trainer = pl.Trainer(
    callbacks=[process],
    max_epochs=-1,
    default_root_dir="runs/mine",
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, data)
print([row["t"] for row in process.rows])
print(sorted(file.name for file in Path("runs/mine").glob("*.csv")))

# %% [markdown]
# ```text
# [0.0, 0.5, 1.0]
# ['equilibration.csv', 'path.csv']
# ```
#
# In a config the same encoder is named by its path. Put the class where Python finds it:
#
# ```yaml
# encoder:
#   class_path: ModuleEncoder
#   init_args: {image_shape: [1, 8, 8], latent_dim: 4, module: my_package.MyNetwork}
# ```
