"""The embedded control plane of one machine: `flyte start devbox`."""
