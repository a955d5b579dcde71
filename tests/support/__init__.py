"""Code shared by tests, benchmarks and docs. Imports none of the three."""
