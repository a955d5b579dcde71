"""From a candidate in the registry to the champion, on evidence, and back."""
