"""Image preprocessing, data sets, and the files that they are read from."""
