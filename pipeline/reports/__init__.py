"""Metrics, plots, contact sheets, the drawing of the network, the model card."""
