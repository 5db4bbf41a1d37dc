"""Intervals, tests, effect sizes, power and the rest: pure functions over numbers, without a model or a cluster."""
