"""The version of this package, in one place: the build reads it here, `flyte.version()` hands it on."""

# A control plane reads it as a semantic version and enables features from 2.3.6 on, hence 2.x.
VERSION = "2.13.0.dev0"
