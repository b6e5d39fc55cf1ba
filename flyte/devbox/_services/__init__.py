"""The services that clients and containers call, a file for each group of them."""
