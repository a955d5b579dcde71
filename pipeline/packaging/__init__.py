"""From the registry to a Bento, from a Bento to a container image."""
