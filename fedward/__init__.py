"""The depth behind the stages: types, settings, learning, privacy, voting and reporting."""
