"""Images and code bundles: what leaves this machine."""
