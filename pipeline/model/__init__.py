"""The networks, the classifier around one, and a summary of its layers."""
