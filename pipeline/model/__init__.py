"""The networks, and a trained one as a classifier."""
