"""Thermodynamics of representation learning on PyTorch Lightning.

Importing this package is cheap on purpose: it pulls in neither torch nor Lightning, so that
``--version`` and the help answer at once. Import what you need from its modules, for example
``from thermo_pl.module import FreeEnergyModel``. Packages hand on what is asked of them, and
load no more than that.
"""

__version__ = "0.1.0"
