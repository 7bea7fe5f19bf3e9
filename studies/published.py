"""Results that the original project publishes in its README, shown beside ours."""

from dataclasses import dataclass

SOURCE = "the README of the original project (arXiv 2108.08186 describes its network)"


@dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
        value: of the metric, on the split that the protocol is judged by.
        std: over its 25 runs; None where one run was published.
    """

    value: float
    std: float | None = None


FIGURES = {
    ("gender", "a", "accuracy"): Published(0.8242),
    ("gender", "b", "accuracy"): Published(0.8337),
    ("gender", "c", "accuracy"): Published(0.9086, 0.0202),
    ("gender", "d", "accuracy"): Published(0.8546, 0.0302),
    ("age8", "a", "accuracy"): Published(0.5705),
    ("age8", "b", "accuracy"): Published(0.5742),
    ("age8", "c", "accuracy"): Published(0.6123, 0.0349),
    ("age8", "d", "accuracy"): Published(0.5500, 0.0400),
    ("age101", "a", "accuracy"): Published(0.1271),
    ("age101", "b", "accuracy"): Published(0.1497),
    ("age101", "a", "accuracy_relaxed"): Published(0.5443),
    ("age101", "b", "accuracy_relaxed"): Published(0.5579),
    ("age101", "c", "accuracy_relaxed"): Published(0.5358, 0.0387),
    ("age101", "d", "accuracy_relaxed"): Published(0.5187, 0.0459),
}
"""By task, protocol and metric: validation for a and b, test for c and d."""
