"""Run directories and what reads them: files, paths and results read back, runs side by side."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.runs.directory import create_run_directory
    from thermo_pl.runs.reader import Run, find_runs, read_run
    from thermo_pl.runs.report import write_report
    from thermo_pl.runs.surfaces import Surface
    from thermo_pl.runs.table import Table, compare
    from thermo_pl.runs.trained import export, load
    from thermo_pl.runs.wandb import WandbRunLogger
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        directory=["create_run_directory"],
        reader=["Run", "find_runs", "read_run"],
        report=["write_report"],
        surfaces=["Surface"],
        table=["Table", "compare"],
        trained=["export", "load"],
        wandb=["WandbRunLogger"],
    )

__all__ = [
    "Run",
    "Surface",
    "Table",
    "WandbRunLogger",
    "compare",
    "create_run_directory",
    "export",
    "find_runs",
    "load",
    "read_run",
    "write_report",
]
