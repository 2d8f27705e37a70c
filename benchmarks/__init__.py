"""Measure what the goals in `goals.toml` speak of. Run as `python -m benchmarks NAME [--quick] [--json]`; benchmarks are no tests."""
