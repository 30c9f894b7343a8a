"""Lab: who can tell that a patient was trained on, and what epsilon that shows at least."""
