"""The gateways, each an adapter of the port in `payments/gateway.py` under the name of who it speaks to."""
