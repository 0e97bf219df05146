"""Domains p(x(t)) on optimal-transport geodesics, as Lightning DataModules."""

if __name__ != "thermo_pl.datamodules":
    raise ImportError(f"{__name__!r} is not a package of its own; import 'thermo_pl.datamodules'")
