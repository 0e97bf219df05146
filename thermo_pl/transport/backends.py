"""Where plans are solved: in processes of this machine, or on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Literal, get_args

import joblib

from thermo_pl.errors import ConfigError

Backend = Literal["loky", "dask", "ray"]
"""A backend of joblib by name: processes of this machine, or one of two schedulers."""
BACKENDS: tuple[Backend, ...] = get_args(Backend)


@contextmanager
def workers(backend: Backend) -> Generator[None]:
    """Within, joblib works there.

    Args:
        backend: where.

    Yields:
        Nothing.

    Raises:
        ConfigError: if what it needs is not installed, or no scheduler is known.
    """
    with ExitStack() as stack:
        try:
            if backend == "dask":
                _join_dask(stack)
            if backend == "ray":
                from ray.util.joblib import register_ray

                register_ray()
        except ImportError as error:
            raise ConfigError(
                f"transport.backend: got {backend!r}, which is not installed ({error}); allowed: "
                "loky; or install it (pip install 'thermo-pl[dask]', or ray) here and on all "
                "workers"
            ) from error
        stack.enter_context(joblib.parallel_config(backend))
        yield


def _join_dask(stack: ExitStack) -> None:
    # The address is Dask's own affair, so that no config names a machine.
    import dask
    from distributed import Client, get_client

    try:
        get_client()
    except ValueError:
        if dask.config.get("scheduler-address", None) is None:
            raise ConfigError(
                "transport.backend: got 'dask', and no scheduler is known; allowed: its address "
                "in the environment variable DASK_SCHEDULER_ADDRESS, or a dask Client made before"
            ) from None
        stack.enter_context(Client())
