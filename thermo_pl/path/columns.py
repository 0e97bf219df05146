"""The columns of path.csv, a row of it, and names that rows carry."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

FORWARD, BACK = "iso_classification", "iso_classification_back"
"""Strokes of an iso-classification, from t = 0 to 1 and back."""
CLOSURE = "closure"
"""The last row of a cycle: its end, measured on the probe that its start was measured on."""

COLUMNS = (
    "step",
    "cycle",
    "stroke",
    "phase",
    "time",
    "leg",
    "t",
    "lambda",
    "gamma",
    "R",
    "D",
    "C",
    "J",
    "C_target",
    "C_predicted",
    "C_lambda",
    "C_gamma",
    "C_t",
    "D_lambda",
    "D_gamma",
    "D_t",
    "J_t",
    "R_error",
    "D_error",
    "C_error",
    "J_error",
    "J_t_error",
    "C_control",
    "stationarity",
    "first_law_residual",
    "first_law_error",
    "work",
    "work_error",
    "relaxation",
    "relaxation_error",
    "length",
    "length_change",
    "predictor_miss",
    "rejected",
    "transition",
    "solver_status",
    "solver_iterations",
    "corrections",
    "gradients",
    "seconds",
    "val_C",
    "val_accuracy",
)
"""Columns of path.csv, one row per macro-step.

``phase`` is the place within a cycle, strokes done and the share of the present one, and leg + t
elsewhere; ``time`` is the clock of the slides, in which λ̇ = k.
R, D, C, J and J_t = ∂_tJ (explicit, at fixed θ) are measured after relaxation on the measuring
probe; columns that end in ``_error`` are standard errors over the noise draws, those of a
difference with common random numbers. ``work`` is what the motion of λ, γ and the data does to J at
fixed θ, ``relaxation`` what J falls by while θ moves, so that ΔJ = work - relaxation. ``length`` is
the thermodynamic length of the step in nats^½, the mean over the metrics at its two ends, and
``length_change`` the one at its end less the one at its start. C_control is C on the probe that
steers, C_predicted is C on the measuring probe after the predictor and before relaxation,
``predictor_miss`` is |C/C* - 1| at that moment on the probe that steers. ``rejected`` counts longer
steps that were tried and taken back, ``transition`` is a word where the equilibrium is singular or
jumps. The total derivatives, the stationarity, the lengths and the solver's columns come from the
solving probe. ``corrections`` counts the corrector's steps after relaxation, ``gradients`` the
gradient evaluations of the step, one for each image and draw of z: in training, and in curvature
products for each right-hand side.
Energies are in nats.
"""
