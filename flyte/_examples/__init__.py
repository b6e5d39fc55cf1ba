"""Programs for users to read, which ship with the package; ``flyte run hello`` runs the first."""
