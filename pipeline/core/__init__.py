"""What every package needs: configuration, errors, files, git, the entry point. Imports no other package."""
