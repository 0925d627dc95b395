"""Benchmarks: ratios within one run, because the machines that run them are noisy."""
