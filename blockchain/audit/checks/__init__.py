"""What an audit checks, step by step."""
