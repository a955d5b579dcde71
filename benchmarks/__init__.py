"""Measurements behind the figures in the README and docs/: each module prints a table and has its make target."""
