"""The ``flyte`` command; :mod:`flyte.cli.main` holds its entry point."""
