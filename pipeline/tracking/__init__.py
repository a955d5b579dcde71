"""From DVC to MLflow. Knows nothing about digits."""
