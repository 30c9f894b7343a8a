"""Who belongs together: founding, joining, the consortium's key, and what an auditor is told of it."""
