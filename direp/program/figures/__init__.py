"""Figures of runs, certificates, comparisons and benchmarks, as matplotlib figures."""
