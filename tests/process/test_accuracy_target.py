"""A C* that is said by an accuracy, asked of the rule alone; the accuracy is scikit-learn's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score

from support.small_networks import CLASSES, SHAPE, parts
from thermo_pl.errors import ConfigError, InfeasibleTarget
from thermo_pl.networks import GaussianClassifier, Networks
from thermo_pl.particles import Particles, interpolate
from thermo_pl.process import Accuracy, ConstantSteps, Equilibrium, IsoClassificationRule, Point
from thermo_pl.process.data import Route
from thermo_pl.response import Gradient, Slopes
from thermo_pl.response.measurement import accuracy

SLOPES = Slopes(Gradient(0, 0, 0), Gradient(0, 0, 0), Gradient(0.0, -0.05, 0.2))
RULE = IsoClassificationRule(k=0.0, c_target=Accuracy(0.95), steps=ConstantSteps(10))


def here(found: float, approached: int = 0, **values: Any) -> Equilibrium:
    rows = [{"C_held": 0.42, "gamma": 4.0, "stroke": "equilibration"}]
    rows += [rows[0] | {"stroke": "approach"}] * approached
    point = Point(1.0, 4.0, 9.0, 0.4, SLOPES, found)._replace(**values)
    return Equilibrium(point, 0, 0.0, Route(1, False, False), None, torch.zeros(0), rows)


@pytest.mark.parametrize(
    ("found", "ratio"), [(0.92, 0.625), (0.5, 0.5), (0.96, 1.25), (0.999, 2.0), (1.0, 2.0)]
)
def test_c_goes_on_as_the_errors_do_by_a_factor_of_two_at_most(found: float, ratio: float) -> None:
    at = here(found)
    proposal = RULE.propose(RULE.begin(at), at)
    assert proposal is not None
    assert proposal.course.stroke == "approach"
    # the step in γ that brings C there, itself within a factor of two
    expected = min(max((ratio - 1) * 0.4 / -0.05, -2.0), 4.0)
    assert proposal.motion == pytest.approx((0, expected, 0))


def test_c_is_held_where_the_accuracy_is_met() -> None:
    at = here(0.9520, approached=3)
    proposal = RULE.propose(RULE.begin(at), at)
    assert proposal is not None
    course = proposal.course
    assert (course.target, course.control_target) == (0.42, 0.4)
    assert proposal.motion == pytest.approx((0, 0.2 * 0.1 / 0.05, 0.1))  # -C_t/C_γ on a step of 0.1
    # and stays there, whatever the accuracy does on the way
    again = RULE.propose(course, here(0.8))
    assert again is not None
    assert again.course == replace(course, pace=again.course.pace)


def test_an_accuracy_out_of_reach_is_told() -> None:
    with pytest.raises(InfeasibleTarget, match=r"got an accuracy of 0.95, and 0.9000 at gamma = 4"):
        RULE.propose(RULE.begin(here(0.9)), here(0.9, approached=40))


def test_the_accuracy_is_scikit_learns() -> None:
    torch.manual_seed(0)
    networks = Networks(**parts())
    x, label = torch.rand(50, *SHAPE), torch.arange(50) % CLASSES
    y, weight = torch.eye(CLASSES)[label], torch.rand(50)
    named = networks.predict((x + 1) / 2).probabilities.argmax(-1)
    expected = accuracy_score(label, named, sample_weight=weight)
    found = accuracy(networks, interpolate(Particles(x, torch.ones_like(x), y, y, weight), 0.5))
    assert found == pytest.approx(expected, rel=1e-6)


def test_an_accuracy_needs_classes_and_lies_between_0_and_1() -> None:
    with pytest.raises(ConfigError, match=r"accuracy: got 97; allowed: a number between 0 and 1"):
        Accuracy(97)
    networks = Networks(**parts(classifier=GaussianClassifier(2, CLASSES)))
    with pytest.raises(ConfigError, match=r"c_target: got .*this classifier names no classes"):
        RULE.check(networks, Route(1, False, False))
