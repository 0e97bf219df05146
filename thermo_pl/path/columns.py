"""The columns of path.csv, told once: files, loggers, ``compare`` and the docs follow from here.

To add one, describe it in :data:`SCHEMA` and put its value into the row of the macro-step.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Row = dict[str, Any]

FORWARD, BACK = "iso_classification", "iso_classification_back"
"""Strokes of an iso-classification, from t = 0 to 1 and back."""
PREPARATION = ("equilibration", "approach")
"""Strokes that bring the model to the start of the path."""
CLOSURE = "closure"
"""The last row of a cycle: its end, measured on the probe that its start was measured on."""

Source = Literal["process", "measuring probe", "control probe", "solving probe", "validation"]
Section = Literal["thermo", "law", "response"]


class Column(NamedTuple):
    """A column of path.csv.

    Attributes:
        name: its name.
        unit: of its values; empty where they have none, as λ, γ and t.
        source: what says it: the process itself, one of its three probes, or validation.
        section: under which loggers record it; None for words, which loggers do not record.
        meaning: what it is, as a noun.
        compared: whether ``compare`` shows its last value.
    """

    name: str
    unit: str
    source: Source
    section: Section | None
    meaning: str
    compared: bool = False


def _error(name: str, section: Section = "thermo", of: str = "") -> Column:
    # of a mean over the draws of the measuring probe
    meaning = f"standard error of {of or name} over the noise draws, the particles being given"
    return Column(f"{name}_error", "nats", "measuring probe", section, meaning)


def _slope(of: str, control: str, symbol: str) -> Column:
    meaning = f"total derivative of {of} with respect to {symbol} along the surface of equilibria"
    return Column(f"{of}_{control}", "nats", "solving probe", "response", meaning)


SCHEMA = (
    Column("step", "", "process", "thermo", "number of the macro-step; 0 is the equilibrium"),
    Column("cycle", "", "process", "thermo", "number of the pass; 0 where there is one"),
    Column("stroke", "", "process", None, "name of the stroke"),
    Column(
        "phase",
        "",
        "process",
        "thermo",
        "place within a cycle: strokes done and the share of the present one; leg + t elsewhere",
    ),
    Column(
        "time",
        "",
        "process",
        "thermo",
        "the clock of the slides, in which λ̇ = k: |Δλ|/`clock` on a stroke that has a `clock`, "
        "such as an adiabat; elsewhere a stroke takes one unit of time",
    ),
    Column("leg", "", "process", "thermo", "number of the leg"),
    Column("t", "", "process", "thermo", "domain coordinate on the leg, 0 to 1", compared=True),
    Column("lambda", "", "process", "thermo", "λ", compared=True),
    Column("gamma", "", "process", "thermo", "γ", compared=True),
    Column("R", "nats", "measuring probe", "thermo", "rate, after relaxation", compared=True),
    Column("D", "nats", "measuring probe", "thermo", "distortion, after relaxation", compared=True),
    Column(
        "C",
        "nats",
        "measuring probe",
        "thermo",
        "classification loss, after relaxation",
        compared=True,
    ),
    Column("J", "nats", "measuring probe", "thermo", "R + λD + γC, after relaxation"),
    Column(
        "latents_in_use",
        "",
        "measuring probe",
        "thermo",
        "axes of z of which more than a hundredth of the variance tells the particles apart; of a "
        "categorical z the exponential of the entropy of its codes; empty on a mixture of domains",
        compared=True,
    ),
    Column("C_target", "nats", "process", "thermo", "C*, where C is to be", compared=True),
    Column(
        "S_target",
        "nats",
        "process",
        "thermo",
        "where -(λD + γC) is to be, on a stroke that holds or drives S",
    ),
    Column(
        "C_predicted",
        "nats",
        "measuring probe",
        "thermo",
        "C after the predictor, before relaxation",
    ),
    _slope("C", "lambda", "λ"),
    _slope("C", "gamma", "γ"),
    _slope("C", "t", "t"),
    _slope("D", "lambda", "λ"),
    _slope("D", "gamma", "γ"),
    _slope("D", "t", "t"),
    Column(
        "J_t",
        "nats",
        "measuring probe",
        "response",
        "∂J/∂t at fixed θ, λ, γ; on the surface of equilibria this is ∂F/∂t",
    ),
    _error("R"),
    _error("D"),
    _error("C"),
    _error("J"),
    _error("J_t"),
    Column(
        "C_held",
        "nats",
        "measuring probe",
        "thermo",
        "C of the particles on which it is held: C itself, or with `hold: validation` that of "
        "held-out particles, on noise that steers nothing",
    ),
    _error("C_held"),
    Column("C_control", "nats", "control probe", "thermo", "C, by which γ is steered"),
    Column(
        "stationarity",
        "nats",
        "solving probe",
        "thermo",
        "what J would still fall by: the Newton decrement ½ g₂ᵀ(A+μ)⁻¹g₁ with the gradients of "
        "two independent probes; noise can make it slightly negative",
        compared=True,
    ),
    Column(
        "first_law_residual",
        "nats",
        "measuring probe",
        "law",
        "ΔR + λΔD + γΔC - ∫∂ₜF dt over the step (trapezoidal rule); negative where relaxation "
        "dissipates",
    ),
    _error("first_law", "law", "the residual, with common random numbers,"),
    Column(
        "work",
        "nats",
        "measuring probe",
        "law",
        "what the motion of λ, γ and the data does to J at fixed θ, and with `protocol: shortcut` "
        "the drive of θ, too; corrections included",
    ),
    _error("work", "law", "the work, with common random numbers,"),
    Column(
        "drive_work",
        "nats",
        "measuring probe",
        "law",
        "part of `work`: what the drive of θ along its response does to J; 0 where the control "
        "moves first (`protocol: sudden`)",
    ),
    Column(
        "domain_work",
        "nats",
        "measuring probe",
        "law",
        "part of `work`: what the motion of the data does to J; the rest of `work` is that of λ "
        "and γ",
    ),
    Column(
        "relaxation",
        "nats",
        "measuring probe",
        "law",
        "what J falls by while θ moves and nothing drives it: ΔJ = work - relaxation",
    ),
    _error("relaxation", "law", "the relaxation, with common random numbers,"),
    Column(
        "length",
        "nats^½",
        "solving probe",
        "response",
        "thermodynamic length of the step, (ΔwᵀgΔw)^½ with the metric g_ab = θ_aᵀAθ_b in "
        "w = (λ, γ, t), as the mean over its two ends",
    ),
    Column(
        "length_change",
        "nats^½",
        "solving probe",
        "response",
        "length of the step in the metric at its end, less that in the metric at its start",
    ),
    Column(
        "predictor_miss",
        "",
        "control probe",
        "response",
        "|C/C* - 1| after the predictor, before relaxation: what step control judges",
    ),
    Column(
        "rejected",
        "",
        "process",
        "response",
        "longer steps that were tried first and taken back, after the predictor or after "
        "relaxation and correction; of the first row, epochs of equilibration",
    ),
    Column(
        "rejection",
        "",
        "control probe",
        None,
        "why the last of them was taken back: what was not held, by how much, and what is allowed",
    ),
    Column(
        "transition",
        "",
        "process",
        None,
        "`kink`, `jump`, `miss` or `saddle` where the equilibrium is singular or jumps, see "
        "[iso_classification.md](iso_classification.md)",
    ),
    Column("solver_status", "", "solving probe", None, "how the solve ended"),
    Column(
        "solver_iterations",
        "",
        "solving probe",
        "response",
        "products with the curvature, all right-hand sides counting as one",
    ),
    Column("corrections", "", "process", "response", "corrector's steps after relaxation"),
    Column(
        "gradients",
        "",
        "process",
        "thermo",
        "cost of the step in gradients of J at one image and one draw of z (a point of a "
        "cubature): training images of all ranks × draws for each, plus probe images × draws × "
        "(products for single right-hand sides + 8), and more where parts of a probe or a "
        "preconditioner are built. Forward passes that measure and steer are not in it, only in "
        "`seconds`",
    ),
    Column("seconds", "s", "process", "thermo", "wall time of the step"),
    Column("val_C", "nats", "validation", "thermo", "C on validation examples", compared=True),
    Column(
        "val_accuracy", "", "validation", "thermo", "accuracy on validation examples", compared=True
    ),
    Column(
        "kept_C",
        "nats",
        "validation",
        "thermo",
        "C on validation examples of the first domain; empty without a `Retention`",
    ),
    Column(
        "kept_accuracy",
        "",
        "validation",
        "thermo",
        "accuracy on validation examples of the first domain; empty without a `Retention`",
    ),
)
"""All columns, in the order of the file: one row per macro-step."""

COLUMNS = tuple(column.name for column in SCHEMA)
"""Their names."""
NUMBERS = tuple(column.name for column in SCHEMA if column.section is not None)
"""Names of those that hold numbers."""
WORDS = tuple(column.name for column in SCHEMA if column.section is None)
"""Names of those that hold words."""
COMPARED = tuple(column for column in SCHEMA if column.compared)
"""Those whose last value ``compare`` shows."""
SECTIONS = {column.name: column.section for column in SCHEMA if column.section is not None}
"""Section of the loggers by name."""


def markdown() -> str:
    """The schema as the table of docs/runs.md.

    Returns:
        Lines of Markdown.
    """
    lines = ["| column | unit | from | meaning |", "|---|---|---|---|"]
    for column in SCHEMA:
        meaning = column.meaning.replace("|", "\\|").replace("*", "\\*")
        lines.append(f"| `{column.name}` | {column.unit} | {column.source} | {meaning} |")
    return "\n".join(lines)
