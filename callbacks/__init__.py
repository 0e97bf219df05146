"""What happens between the steps of training: processes and monitors."""

if __name__ != "thermo_pl.callbacks":
    raise ImportError(f"{__name__!r} is not a package of its own; import 'thermo_pl.callbacks'")
