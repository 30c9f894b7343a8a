"""Attacks by malicious hospitals, for simulations and labs only: no hospital on a host of its own has this code."""
