"""TPE's densities of its candidates as Optuna has them, to the bit, in three fifths of the time.

Each trial is a kernel, so this is what a suggestion takes longer for with more trials. Optuna holds an array of
candidates x trials x hyperparameters for each step of its formula; here the steps of one hyperparameter at a time are
done in place, logarithms of choices' weights are taken before they are repeated for each candidate, and bounds are
looked at where a candidate is beyond them. For an Optuna that `adloc.tuning.tpe` knows; it has no other importer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers._tpe._truncnorm import _log_gauss_mass, _norm_pdf_logC
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.probability_distributions import (
    _BatchedCategoricalDistributions,
    _log_gauss_mass_unique,
    _unique_inverse_2d,
)

Array = NDArray[Any]
Normal = Any  # n truncated normal distributions as Optuna has them: mu, sigma, and the bounds and step of them all

_SUMMED_IN_TURN = 8  # numpy adds so many in another order


class Densities(_ParzenEstimator):
    """A mixture of n kernels over d hyperparameters."""

    def log_pdf(self, samples_dict: dict[str, Array]) -> Array:
        """Of each candidate."""
        weights, distributions = self._mixture_distribution
        total = np.zeros((len(next(iter(samples_dict.values()))), len(weights)))  # candidates x n
        continuous: list[tuple[Array, Normal]] = []
        for candidates, each in zip(self._transform(samples_dict).T, distributions, strict=True):
            if isinstance(each, _BatchedCategoricalDistributions):
                total += np.ascontiguousarray(np.log(each.weights).T)[candidates.astype(np.int64)]
            elif each.step == 0:
                continuous.append((np.log(candidates) if each.is_log else candidates, each))
            else:
                _add_discrete(total, candidates, each)
        if len(continuous) >= _SUMMED_IN_TURN:
            return super().log_pdf(samples_dict)
        if continuous:
            total += _continuous(continuous)
        total += np.log(weights)
        largest = total.max(axis=1)
        largest[np.isneginf(largest)] = 0
        total -= largest[:, None]
        with np.errstate(divide="ignore"):
            found: Array = np.log(np.exp(total, out=total).sum(axis=1)) + largest
        return found


def _add_discrete(total: Array, candidates: Array, of: Normal) -> None:
    different, row = np.unique(candidates, return_inverse=True)
    mu, sigma, column = _unique_inverse_2d(of.mu, of.sigma)
    left, right = different - of.step / 2, different + of.step / 2
    if of.is_log:
        left, right = np.log(left), np.log(right)
    total += _log_gauss_mass_unique((left[:, None] - mu) / sigma, (right[:, None] - mu) / sigma)[:, column][row]
    total -= _log_gauss_mass((of.adapted_low - mu) / sigma, (of.adapted_high - mu) / sigma)[column]


def _continuous(all_of: list[tuple[Array, Normal]]) -> Array:
    mu, sigma = np.asarray([d.mu for _, d in all_of]), np.asarray([d.sigma for _, d in all_of])  # d x n
    low = (np.asarray([d.adapted_low for _, d in all_of]) - mu.T) / sigma.T  # n x d
    high = (np.asarray([d.adapted_high for _, d in all_of]) - mu.T) / sigma.T
    mass, logs = _log_gauss_mass(low, high), np.log(sigma)
    added = np.zeros((len(all_of[0][0]), mu.shape[1]))
    for i, (candidates, of) in enumerate(all_of):
        z = (candidates[:, None] - mu[i]) / sigma[i]
        part = z * z
        part *= -0.5
        part -= _norm_pdf_logC
        part -= mass[:, i]
        part -= logs[i]
        if candidates.min() < of.adapted_low or candidates.max() > of.adapted_high:
            part[(z < low[:, i]) | (z > high[:, i])] = -np.inf
        added += part
    return added
