"""Iso-classification as a callback; see :mod:`thermo_pl.process.iso_classification`."""

from __future__ import annotations

from typing import Literal

from thermo_pl.callbacks.quasi_static import QuasiStatic
from thermo_pl.errors import require
from thermo_pl.process.equilibration import Equilibration
from thermo_pl.process.iso_classification import AS_LONG_AS_ALLOWED, Accuracy, IsoClassificationRule
from thermo_pl.process.settings import Hold, Length, Probes, Protocol, Settings
from thermo_pl.process.step_control import ConstantSteps, StepControl
from thermo_pl.process.transitions import OnTransition
from thermo_pl.response.linear import ResponseSettings


class IsoClassification(QuasiStatic):
    """Moves the domain from t = 0 to 1 on every leg with C held at C*.

    C* is C at the equilibrium of (λ0, γ0, t = 0), or a value of your own: then γ first brings C
    there at t = 0, as a stroke called ``approach``.

    Example:
        >>> import pytorch_lightning as pl
        >>> import thermo_pl as tp
        >>> _ = pl.seed_everything(0, verbose=False)
        >>> model = tp.FreeEnergyModel(
        ...     tp.MLPEncoder([1, 8, 8], latent_dim=3),
        ...     tp.LinearClassifier(3, classes=2),
        ...     tp.MLPDecoder([1, 8, 8], 3),
        ...     tp.StandardNormal(3),
        ...     lam=1.0,
        ...     gam=5.0,
        ... )
        >>> domains = [tp.Waypoint([0, 1]), tp.Waypoint([5, 6])]
        >>> data = tp.InterpolatedDataModule(domains, train_batches=20)
        >>> process = tp.IsoClassification(
        ...     k=0.5,
        ...     steps=2,
        ...     equilibration=tp.Equilibration(stationarity=1.0),
        ...     probes=tp.Probes(measuring_samples=16, control_samples=16),
        ... )
        >>> settings = {"default_root_dir": "runs/first", "max_epochs": -1, "logger": False}
        >>> quiet = {"enable_progress_bar": False, "enable_model_summary": False}
        >>> pl.Trainer(callbacks=[process], **settings, **quiet).fit(model, datamodule=data)
        >>> [(row["t"], row["lambda"]) for row in process.rows]  # as in runs/first/path.csv
        [(0.0, 1.0), (0.5, 1.25), (1.0, 1.5)]
        >>> abs(process.rows[-1]["C"] / process.rows[-1]["C_target"] - 1) < 0.1
        True
    """

    def __init__(
        self,
        k: float,
        steps: int | StepControl | Literal["auto"] = "auto",
        c_target: float | Accuracy | None = None,
        gamma_range: tuple[float, float] = (1e-2, 1e4),
        approach_tolerance: float = 0.005,
        approach_steps: int = 40,
        restoring: bool = True,
        equilibration: Equilibration | None = None,
        probes: Probes | None = None,
        response: ResponseSettings | None = None,
        predictor: bool = True,
        on_transition: OnTransition = "mark",
        there_and_back: bool = False,
        tolerance: float = 0.01,
        min_step: float = 1 / 16,
        hold: Hold = "train",
        protocol: Protocol = "sudden",
        drives: int = 1,
        relaxation: Length = "epoch",
    ) -> None:
        """Say how λ goes, where C is held, and by what steps.

        Args:
            k: λ̇, the change of λ on one leg (t runs from 0 to 1).
            steps: macro-steps on one leg, or how they are chosen: :class:`AdaptiveSteps`,
                :class:`EqualLengthSteps`. ``auto``: as long as the predictor's error allows, which
                is :class:`AdaptiveSteps` as it comes.
            c_target: C* in nats, or ``{accuracy: 0.97}``: C where γ has brought the accuracy there,
                on the particles that C is held on; C at the first equilibrium if not given.
            gamma_range: where γ may go; a C* that asks for more is infeasible.
            approach_tolerance: |C/C* - 1| at which the approach to a given C* ends.
            approach_steps: macro-steps of the approach at most.
            restoring: steer γ by C* - C as well, in each motion and after each relaxation. Without
                it errors add up: for comparison.
            equilibration: how the run is brought to equilibrium first.
            probes: the solving, the control and the measuring probe.
            response: how the linear response is solved.
            predictor: move θ by the response before each relaxation.
            on_transition: ``mark``, ``continue`` or ``stop``; see :class:`Settings`.
            there_and_back: go back to t = 0 and λ0 afterwards, as a stroke of its own. What differs
                from the way there is hysteresis.
            tolerance: |C/C* - 1| with which a macro-step counts, beside the standard error of the
                control probe. Where C misses it after relaxation and correction, both are repeated;
                then the step is taken back and half of it is tried. ``.inf`` promises nothing.
            min_step: share of the process's own step below which none is tried. Then the run ends
                with exit code 3.
            hold: ``train`` holds C of the training particles, ``validation`` that of held-out ones:
                the control probe is made of them, and their labels are used. Test particles stay
                untouched and report.
            protocol: ``sudden`` moves the control first and θ after it; ``shortcut`` drives θ along
                its response while the control moves, and gives off far less; see :class:`Settings`.
            drives: drives of θ in a step of the shortcut, 1 or 2; with 2 the response is solved
                at mid-control, too.
            relaxation: ``epoch``: one in each macro-step, and more where it does not hold what it
                must. ``auto``: another one as long as J falls by more than equilibration allows.
        """
        rule = IsoClassificationRule(
            k=k,
            steps=_controller(steps),
            c_target=c_target,
            gamma_range=(gamma_range[0], gamma_range[1]),
            approach_tolerance=approach_tolerance,
            approach_steps=approach_steps,
            restoring=restoring,
            there_and_back=there_and_back,
            predictor=predictor,
            tolerance=tolerance,
        )
        settings = Settings.of(
            equilibration,
            probes,
            response,
            predictor=predictor,
            on_transition=on_transition,
            min_step=min_step,
            hold=hold,
            protocol=protocol,
            drives=drives,
            relaxation=relaxation,
        )
        super().__init__(rule, settings)


def _controller(steps: int | StepControl | Literal["auto"]) -> StepControl:
    if isinstance(steps, StepControl):
        return steps
    ok = steps == "auto" or isinstance(steps, int)
    require(ok, "steps", steps, "auto, a whole number > 0, or a class such as AdaptiveSteps")
    return ConstantSteps(steps) if isinstance(steps, int) else AS_LONG_AS_ALLOWED
