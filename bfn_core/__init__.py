"""Bayesian Flow Networks: exact, small and fast. Source: Graves et al. 2023, arXiv 2308.07037."""

from bfn_core.beliefs import CategoricalParameters, GaussianParameters
from bfn_core.exact import ExactBFN
from bfn_core.flows import (
    BayesianFlow,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
)
from bfn_core.likelihood import ELBO, Estimate, elbo
from bfn_core.mixed import MixedFlow
from bfn_core.model import BFN
from bfn_core.schedules import Schedule
from bfn_core.solvers import FixedNoise, Solver

__version__ = "0.1.0"

__all__ = [
    "BFN",
    "ELBO",
    "BayesianFlow",
    "CategoricalParameters",
    "ContinuousFlow",
    "DiscreteFlow",
    "DiscretisedFlow",
    "Estimate",
    "ExactBFN",
    "FixedNoise",
    "GaussianParameters",
    "MixedFlow",
    "Schedule",
    "Solver",
    "elbo",
]
