"""Small changes to images that mislead a classifier: to hide labels (image encryption), and to test models (labs)."""
