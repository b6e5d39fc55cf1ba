"""Definitions and values in the words of flyteidl2; see the map in `flyte/__init__.py`."""
