"""What every part needs: configuration, errors, files, git, and how a command runs. Imports no other part."""
