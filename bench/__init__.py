"""Reproducible benches: each figure beside a bare yardstick that was measured in the same run."""
