"""Metrics, tracing, logs."""
