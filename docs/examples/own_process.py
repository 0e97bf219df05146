"""A process of your own: λ rises in equal steps while C may go where it goes, at data that move.

Put the file where Python finds it, and name the class in a config:

    trainer.callbacks:
      - class_path: own_process.SlowCompression
        init_args: {lam: 2.0, steps: 20}
"""

from dataclasses import dataclass

from thermo_pl.callbacks import QuasiStatic
from thermo_pl.errors import require
from thermo_pl.process import Course, Equilibration, Equilibrium, Motion, Proposal, Rule, Settings


@dataclass(frozen=True)
class SlowCompressionRule(Rule[Course]):
    """Takes λ to a value on each leg; γ stays."""

    lam: float
    steps: int

    def __post_init__(self) -> None:
        require(self.steps > 0, "steps", self.steps, "a whole number > 0")

    def begin(self, here: Equilibrium) -> Course:  # at the first equilibrium
        return Course()

    def propose(self, course: Course, here: Equilibrium) -> Proposal[Course] | None:
        if here.t >= 1:
            return None
        left = round((1 - here.t) * self.steps)
        step = Motion(lam=(self.lam - here.point.lam) / left, t=(1 - here.t) / left)
        return Proposal(step, Course("compression"))

    def macro_steps(self, course: Course | None, here: Equilibrium) -> int:
        return self.steps


class SlowCompression(QuasiStatic):
    """The rule, tied to a trainer."""

    def __init__(
        self, lam: float, steps: int = 20, equilibration: Equilibration | None = None
    ) -> None:
        settings = Settings(equilibration=equilibration or Equilibration())
        super().__init__(SlowCompressionRule(lam, steps), settings)
