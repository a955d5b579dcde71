"""What tests, benchmarks and documents share. Imports none of the three."""
