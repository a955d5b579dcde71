"""Tests, and the pen that draws the digits they are made with."""
