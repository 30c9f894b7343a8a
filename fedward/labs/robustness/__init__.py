"""The lab of robustness: attacks on the diagnosis model, and what defends it."""
