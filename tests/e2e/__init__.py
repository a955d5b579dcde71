"""Tests of the whole on the real thing, which need the published archives, a browser, or minutes."""
