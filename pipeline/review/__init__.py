"""Review of corrections by users of the service: what came in, and what is kept of it in data/corrections/."""
