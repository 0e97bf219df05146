"""What a frozen probe says of an equilibrium: R, D, C, and how they and θ follow λ, γ, t."""

from typing import TYPE_CHECKING

from thermo_pl.lazy import on_demand

if TYPE_CHECKING:
    from thermo_pl.response.curvature import Curvature, gauss_newton, hessian
    from thermo_pl.response.damping import damping_effect, relaxation_damping
    from thermo_pl.response.fluctuation import fluctuation_response
    from thermo_pl.response.held_out import slopes_on
    from thermo_pl.response.linear import (
        Response,
        ResponseSettings,
        ResponseSystem,
        linear_response,
    )
    from thermo_pl.response.measurement import Measurement, measure
    from thermo_pl.response.objective import Objective, Probe
    from thermo_pl.response.slopes import Gradient, Slopes
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        curvature=["Curvature", "gauss_newton", "hessian"],
        damping=["damping_effect", "relaxation_damping"],
        fluctuation=["fluctuation_response"],
        held_out=["slopes_on"],
        linear=["Response", "ResponseSettings", "ResponseSystem", "linear_response"],
        measurement=["Measurement", "measure"],
        objective=["Objective", "Probe"],
        slopes=["Gradient", "Slopes"],
    )

__all__ = [
    "Curvature",
    "Gradient",
    "Measurement",
    "Objective",
    "Probe",
    "Response",
    "ResponseSettings",
    "ResponseSystem",
    "Slopes",
    "damping_effect",
    "fluctuation_response",
    "gauss_newton",
    "hessian",
    "linear_response",
    "measure",
    "relaxation_damping",
    "slopes_on",
]
