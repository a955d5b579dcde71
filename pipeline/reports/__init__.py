"""What people look at: metrics, plots, contact sheets, the network's drawing, the model card."""
