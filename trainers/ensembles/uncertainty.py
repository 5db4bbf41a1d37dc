"""How unsure an ensemble is, and why: what the members disagree on could be learnt, what they agree to be unsure of not.

The entropy of the mean is the entropy that members have on average (aleatoric: noise in the data) plus the mutual
information between answer and member (epistemic: what the model does not know); Depeweg and others 2018. All in nats.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainers.ensembles.combine import logs_of


class Uncertainty(NamedTuple):
    """Of each row, shape (rows,).

    Attributes:
        entropy: of the members' mean; the sum of the next two.
        aleatoric: mean entropy of the members.
        epistemic: mutual information of answer and member.
        disagreement: share of members whose first choice is not the ensemble's.
    """

    entropy: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    disagreement: np.ndarray

    def of_row(self, index: int) -> dict[str, float]:
        """One row, ready for JSON."""
        return {name: float(getattr(self, name)[index]) for name in self._fields}


def uncertainty(logs: np.ndarray, shares: np.ndarray, chosen: np.ndarray) -> Uncertainty:
    """Split the uncertainty of rows.

    Args:
        logs: members' log-probabilities, shape (members, rows, classes).
        shares: of the members, shape (members,), sum 1.
        chosen: class that the ensemble gives, shape (rows,).
    """
    probabilities = np.exp(logs)
    mean = np.tensordot(shares, probabilities, 1)
    entropy = -(mean * logs_of(mean)).sum(-1)
    each = -(probabilities * logs_of(probabilities)).sum(-1)
    aleatoric = np.tensordot(shares, each, 1)
    disagreement = np.tensordot(shares, (logs.argmax(-1) != chosen).astype(np.float64), 1)
    return Uncertainty(entropy, aleatoric, np.maximum(entropy - aleatoric, 0.0), disagreement)
