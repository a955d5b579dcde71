"""DVC experiments. The one package above the stages: it runs them."""
