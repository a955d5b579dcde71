"""Several digits in a picture: geometry, no HTTP."""
