"""Codes that know nothing of Bayesian Flow Networks, to compare with."""
