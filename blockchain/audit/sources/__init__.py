"""The audit's sources of evidence: a run folder, a bundle, a running node."""
