"""Hospitals and server on hosts of their own: the project's file, kits, TLS, the gateway, and what may run or leave."""
