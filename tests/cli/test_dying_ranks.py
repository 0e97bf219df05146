"""Ranks that are started by the first one, and do not outlive it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch

from thermo_pl.cli import ranks, resuming
from thermo_pl.configs.mistakes import refusal
from thermo_pl.errors import ConfigError


def test_a_rank_ends_where_the_first_one_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, codes, ended = iter([7, 7, 1]), [], threading.Event()
    monkeypatch.setattr(os, "getppid", lambda: next(parents, 1))

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    ranks.watch_the_first(end, grace=0.0, every=0.0)
    assert ended.wait(5)
    assert codes == [1]


def test_a_rank_that_stops_with_the_others_waits_for_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parents = [7, 7, 7, 1]
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    ranks.wait_for_the_first(every=0.0)
    assert parents == []
    monkeypatch.setattr(os, "getppid", lambda: 7)
    ranks.wait_for_the_first(longest=0.0, every=0.0)  # it does not wait for ever


def test_errors_of_other_ranks_are_told_from_our_own() -> None:
    assert ranks.is_lost(torch.distributed.DistNetworkError("gone"))
    assert ranks.is_lost(
        RuntimeError("[/a/gloo/transport/tcp/pair.cc:1] Connection closed by peer")
    )
    assert not ranks.is_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_an_empty_checkpoint_is_none() -> None:
    with pytest.raises(ConfigError, match="ckpt_path: got ''; allowed: a file, or null"):
        resuming.checkpoint("", Path("runs"))


def test_an_optimiser_that_fails_in_its_first_step_is_named() -> None:
    parameter = torch.ones(2, requires_grad=True)
    parameter.grad = torch.ones(2)
    optimizer = torch.optim.Adam([parameter], fused=True)
    optimizer.param_groups[0]["maximize"] = None
    with pytest.raises(TypeError) as failed:
        optimizer.step()
    entry = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1, "maximize": None}}
    told = str(refusal(failed.value, {"model": {"init_args": {"optimizer": entry}}}))
    assert told.startswith("model.init_args.optimizer: _fused_adam_() received an invalid")
    assert len(told) < 300
